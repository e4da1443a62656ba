/**
 * The bodies of requests: their schemas, what they mean in core, and how the client prints them.
 * On the wire a call has a `url`; in core its `address` may also be a function, which cannot be asked for from outside.
 */
import type { CallSpec } from '../core/call-spec.ts';
import { submitManyMax, waitMaxMs, type ActionRequest, type SubmitRequest } from '../core/coordinator.ts';
import { isGid, type Gid } from '../core/ids.ts';
import type { MessageTargetDefinition } from '../core/message-plan.ts';
import type { Definition } from '../core/patterns.ts';
import { branchesMax } from '../core/plan.ts';
import type { RetryPolicy } from '../core/retry-policy.ts';
import type { SagaStepDefinition } from '../core/saga-plan.ts';
import type { TccBranchDefinition } from '../core/tcc-plan.ts';
import { assert } from '../util/assert.ts';
import type { Json } from '../util/json.ts';
import { plainUrlCharactersMax, whyNotPlainUrl } from '../util/plain-url.ts';
import * as s from './schema.ts';

/** The payload of one call, as JSON text. */
export const payloadCharactersMax = 262_144;
/** One call may be given at most this long. */
export const callTimeoutMaxMs = 600_000;
/** No timeout, delay or pause is longer than a year. */
export const durationMaxMs = 31_536_000_000;
/** A reason is a sentence, not a log. */
export const reasonCharactersMax = 1_000;

const duration = s.integer({ min: 0, max: durationMaxMs });
const positiveDuration = s.integer({ min: 1, max: durationMaxMs });

/** A gid, in the shape of core/ids. */
export const gidSchema: s.Schema<string> = s.string({
  min: 1,
  max: 128,
  shape: { pattern: /^[A-Za-z0-9_:~-]+$/, says: 'of the characters A-Z a-z 0-9 _ - : ~' },
});

const name = s.string({ min: 1, max: 128 });
const branchName = s.string({
  min: 1,
  max: 64,
  shape: {
    pattern: /^[A-Za-z0-9][A-Za-z0-9_-]*$/,
    says: 'of the characters A-Z a-z 0-9 _ -, starting with a letter or digit',
  },
});

/** `waitMs`, in bodies and queries alike. */
export const waitSchema: s.Schema<number> = s.describe(
  s.integer({ min: 0, max: waitMaxMs }),
  'Milliseconds to wait for the end of the transaction before answering with the state it has.',
  { default: 0 },
);

const retry = s.named(
  'RetryPolicy',
  s.describe(
    s.object({
      kind: s.optional(s.literal('exponential')),
      baseMs: s.integer({ min: 1, max: durationMaxMs }),
      factor: s.number({ min: 1, max: 100 }),
      maxMs: s.integer({ min: 1, max: durationMaxMs }),
      attemptsMax: s.optional(s.integer({ min: 1, max: 1_000_000 })),
    }),
    'When a call without an answer is repeated: exponential with full jitter, capped.',
  ),
);

const reference = s.object({
  from: s.describe(s.string({ min: 1, max: 64 }), 'The name of an earlier branch, or "input".'),
  path: s.array(s.string({ max: 256 }), { max: 16 }),
  optional: s.optional(
    s.describe(
      s.literal(true),
      'Leave the member out when there is no such result, instead of refusing the call.',
    ),
  ),
});

const call = s.named(
  'Call',
  s.object({
    url: s.describe(
      s.string({ min: 1, max: plainUrlCharactersMax, format: 'uri', whyNot: whyNotPlainUrl }),
      'Absolute http(s) URL of the branch; its origin is checked against the allow-list of the coordinator.',
    ),
    payload: s.optional(
      s.describe(s.json, `Sent as it is; at most ${payloadCharactersMax} characters of JSON.`),
    ),
    inject: s.optional(
      s.describe(
        s.record(reference, { keyMax: 128, max: 64 }),
        'Members of the payload filled from earlier results when the call is made.',
      ),
    ),
  }),
);

const common = {
  gid: s.optional(s.describe(gidSchema, 'Makes the submit idempotent. Default: a new one.')),
  name: s.describe(name, 'What people call this kind of transaction.'),
  callTimeoutMs: s.optional(
    s.describe(s.integer({ min: 1, max: callTimeoutMaxMs }), 'Milliseconds one call may take.'),
  ),
  waitMs: s.optional(waitSchema),
};

const sagaSubmit = s.named(
  'SagaSubmit',
  s.object({
    pattern: s.literal('saga'),
    ...common,
    input: s.optional(s.describe(s.json, 'Reached by references from "input".')),
    timeoutMs: s.optional(
      s.describe(positiveDuration, 'Milliseconds after which what was done is compensated. Default: never.'),
    ),
    steps: s.array(
      s.object({
        name: branchName,
        action: call,
        compensation: s.optional(s.describe(call, 'Without it, nothing is undone for this step.')),
        after: s.optional(
          s.describe(
            s.array(branchName, { max: branchesMax }),
            'Steps that must be done first. Default: the step written before this one.',
          ),
        ),
        pivot: s.optional(s.describe(s.literal(true), 'Once done, the saga only goes forward.')),
        retry: s.optional(retry),
        onExhausted: s.optional(s.oneOf(['compensate', 'park'])),
      }),
      { min: 1, max: branchesMax },
    ),
  }),
);

const tccBranch = s.named(
  'TccBranch',
  s.object({
    name: branchName,
    try: s.optional(s.describe(call, 'Without it the initiator calls try itself.')),
    confirm: call,
    cancel: call,
    retry: s.optional(retry),
  }),
);

const tccSubmit = s.named(
  'TccSubmit',
  s.object({
    pattern: s.literal('tcc'),
    ...common,
    timeoutMs: s.optional(
      s.describe(positiveDuration, 'Milliseconds from begin after which everything is cancelled.', {
        default: 60_000,
      }),
    ),
    decide: s.optional(
      s.describe(s.oneOf(['initiator', 'when-all-tried']), 'Who decides to confirm.', {
        default: 'initiator',
      }),
    ),
    branches: s.optional(s.array(tccBranch, { max: branchesMax })),
  }),
);

const messageSubmit = s.named(
  'MessageSubmit',
  s.object({
    pattern: s.literal('message'),
    ...common,
    check: s.optional(
      s.describe(
        call,
        'Whom to ask whether the local transaction of the producer committed; starts it prepared.',
      ),
    ),
    checkAfterMs: s.optional(
      s.describe(duration, 'Milliseconds from prepare until the first question.', { default: 10_000 }),
    ),
    delayMs: s.optional(
      s.describe(duration, 'Milliseconds between the decision to deliver and the first delivery.', {
        default: 0,
      }),
    ),
    targets: s.array(s.object({ name: branchName, deliver: call, retry: s.optional(retry) }), {
      min: 1,
      max: branchesMax,
    }),
    order: s.optional(
      s.describe(s.oneOf(['parallel', 'sequence']), 'Of the targets.', { default: 'parallel' }),
    ),
  }),
);

type WireSaga = s.Infer<typeof sagaSubmit>;
type WireTcc = s.Infer<typeof tccSubmit>;
type WireMessage = s.Infer<typeof messageSubmit>;
type WireCall = s.Infer<typeof call>;
type WireRetry = s.Infer<typeof retry>;
type WireTccBranch = s.Infer<typeof tccBranch>;

/** The body of POST /v1/transactions. */
export type SubmitBody = WireSaga | WireTcc | WireMessage;

/** The body of POST /v1/transactions, told apart by `pattern`. */
export const submitSchema: s.Schema<SubmitBody> = s.union('pattern', {
  saga: sagaSubmit,
  tcc: tccSubmit,
  message: messageSubmit,
});

/** The body of POST /v1/transactions/batch. */
export const submitManySchema: s.Schema<{ readonly transactions: readonly SubmitBody[] }> = s.object({
  transactions: s.array(submitSchema, { min: 1, max: submitManyMax }),
});

/** The body of POST /v1/transactions/{gid}/branches. */
export const registerSchema: s.Schema<{
  readonly branches: readonly WireTccBranch[];
  readonly waitMs?: number;
}> = s.object({
  branches: s.array(tccBranch, { min: 1, max: branchesMax }),
  waitMs: s.optional(waitSchema),
});

/** The body of POST /v1/transactions/{gid}/commit. */
export const commitSchema: s.Schema<{ readonly waitMs?: number }> = s.object({
  waitMs: s.optional(waitSchema),
});

const reason = s.describe(
  s.string({ min: 1, max: reasonCharactersMax }),
  'Why; kept in the history of the transaction.',
);

/** The body of POST /v1/transactions/{gid}/abort. */
export const abortSchema: s.Schema<{ readonly reason: string; readonly waitMs?: number }> = s.object({
  reason,
  waitMs: s.optional(waitSchema),
});

const plainAction = s.named(
  'PlainAction',
  s.object({
    action: s.oneOf(['abort', 'retry-now', 'force-commit', 'force-abort']),
    reason,
    waitMs: s.optional(waitSchema),
  }),
);
const skipAction = s.named(
  'SkipBranchAction',
  s.object({
    action: s.literal('skip-branch'),
    reason,
    branch: s.describe(branchName, 'Which branch is to be taken as settled.'),
    waitMs: s.optional(waitSchema),
  }),
);
const forgetAction = s.named(
  'ForgetAction',
  s.object({
    action: s.literal('forget'),
    reason,
    unresolved: s.optional(
      s.describe(
        s.array(branchName, { max: branchesMax }),
        'Every unresolved branch by name, as proof that somebody looked at them.',
      ),
    ),
    waitMs: s.optional(waitSchema),
  }),
);

/** The body of POST /v1/transactions/{gid}/actions. */
export type ActionBody = s.Infer<typeof plainAction | typeof skipAction | typeof forgetAction>;

/** What each action needs beside its reason is part of its shape. */
export const actionSchema: s.Schema<ActionBody> = s.union('action', {
  abort: plainAction,
  'retry-now': plainAction,
  'force-commit': plainAction,
  'force-abort': plainAction,
  'skip-branch': skipAction,
  forget: forgetAction,
});

// ---- what a body means

/**
 * The submit a body asks for. It has no signal: watching whether the caller stays costs more than waiting for nobody
 * until the transaction ends, or `waitMs` have passed.
 */
export function toSubmit(body: SubmitBody): SubmitRequest {
  const definition = toDefinition(body);
  const { gid, waitMs } = body;
  return {
    definition,
    ...(gid === undefined ? {} : { gid: checkedGid(gid) }),
    ...(waitMs === undefined ? {} : { waitMs }),
  };
}

function toDefinition(body: SubmitBody): Definition {
  switch (body.pattern) {
    case 'saga': {
      const { gid: _gid, waitMs: _waitMs, steps, ...rest } = body;
      return { ...rest, steps: steps.map(toStep) };
    }
    case 'tcc': {
      const { gid: _gid, waitMs: _waitMs, branches, ...rest } = body;
      return branches === undefined ? rest : { ...rest, branches: branches.map(toTccBranch) };
    }
    case 'message': {
      const { gid: _gid, waitMs: _waitMs, check, targets, ...rest } = body;
      const definition = { ...rest, targets: targets.map(toTarget) };
      return check === undefined ? definition : { ...definition, check: toCall(check) };
    }
  }
}

function toStep({ action, compensation, retry, ...rest }: WireSaga['steps'][number]): SagaStepDefinition {
  return {
    ...rest,
    action: toCall(action),
    ...(compensation === undefined ? {} : { compensation: toCall(compensation) }),
    ...(retry === undefined ? {} : { retry: toRetry(retry) }),
  };
}

/** The branch a body asks for. */
export function toTccBranch({
  name,
  try: tried,
  confirm,
  cancel,
  retry,
}: WireTccBranch): TccBranchDefinition {
  return {
    name,
    ...(tried === undefined ? {} : { try: toCall(tried) }),
    confirm: toCall(confirm),
    cancel: toCall(cancel),
    ...(retry === undefined ? {} : { retry: toRetry(retry) }),
  };
}

function toTarget({ name, deliver, retry }: WireMessage['targets'][number]): MessageTargetDefinition {
  const target = { name, deliver: toCall(deliver) };
  return retry === undefined ? target : { ...target, retry: toRetry(retry) };
}

function toCall({ url, payload, inject }: WireCall): CallSpec {
  if (payload === undefined) return inject === undefined ? { address: url } : { address: url, inject };
  return inject === undefined ? { address: url, payload } : { address: url, payload, inject };
}

function toRetry(retry: WireRetry): RetryPolicy {
  return { ...retry, kind: 'exponential' };
}

/** The schema holds the gid to the same shape. */
function checkedGid(gid: string): Gid {
  assert(isGid(gid), 'a gid that passed its schema is a gid');
  return gid;
}

/** The action a body asks for; who asks is never taken from the body. */
export function toAction({ waitMs: _waitMs, ...action }: ActionBody, actor: string): ActionRequest {
  return { ...action, actor };
}

// ---- how the client says it

/** The body of POST /v1/transactions that asks for this submit. */
export function submitBody({ gid, waitMs, definition }: Omit<SubmitRequest, 'signal'>): SubmitBody {
  return {
    ...fromDefinition(definition),
    ...(gid === undefined ? {} : { gid }),
    ...(waitMs === undefined ? {} : { waitMs }),
  };
}

/** The `branches` of POST /v1/transactions/{gid}/branches. */
export function tccBranchBody({
  name,
  try: tried,
  confirm,
  cancel,
  retry,
}: TccBranchDefinition): WireTccBranch {
  return {
    name,
    ...(tried === undefined ? {} : { try: fromCall(tried) }),
    confirm: fromCall(confirm),
    cancel: fromCall(cancel),
    ...(retry === undefined ? {} : { retry }),
  };
}

function fromDefinition(definition: Definition): SubmitBody {
  switch (definition.pattern) {
    case 'saga':
      return { ...definition, steps: definition.steps.map(fromStep) };
    case 'tcc': {
      const { branches, ...rest } = definition;
      return branches === undefined ? rest : { ...rest, branches: branches.map(tccBranchBody) };
    }
    case 'message': {
      const { check, targets, ...rest } = definition;
      const body = {
        ...rest,
        targets: targets.map((target) => ({ ...target, deliver: fromCall(target.deliver) })),
      };
      return check === undefined ? body : { ...body, check: fromCall(check) };
    }
  }
}

function fromStep({ action, compensation, ...rest }: SagaStepDefinition): WireSaga['steps'][number] {
  const step = { ...rest, action: fromCall(action) };
  return compensation === undefined ? step : { ...step, compensation: fromCall(compensation) };
}

function fromCall({ address, ...rest }: CallSpec): WireCall {
  return { url: address, ...rest };
}

/** The payloads of a body, and its input, with the JSON Pointer of each: their size is not a matter of a schema. */
export function* payloadsOf(body: SubmitBody): Generator<{ readonly path: string; readonly payload: Json }> {
  if (body.pattern === 'saga') {
    if (body.input !== undefined) yield { path: '/input', payload: body.input };
    for (const [at, step] of body.steps.entries()) {
      yield* payloadOf(`/steps/${at}/action`, step.action);
      yield* payloadOf(`/steps/${at}/compensation`, step.compensation);
    }
  } else if (body.pattern === 'tcc') {
    for (const [at, branch] of (body.branches ?? []).entries())
      yield* payloadsOfBranch(`/branches/${at}`, branch);
  } else {
    yield* payloadOf('/check', body.check);
    for (const [at, target] of body.targets.entries())
      yield* payloadOf(`/targets/${at}/deliver`, target.deliver);
  }
}

/** The payloads of one TCC branch, which stands at `path`. */
export function* payloadsOfBranch(
  path: string,
  branch: WireTccBranch,
): Generator<{ readonly path: string; readonly payload: Json }> {
  yield* payloadOf(`${path}/try`, branch.try);
  yield* payloadOf(`${path}/confirm`, branch.confirm);
  yield* payloadOf(`${path}/cancel`, branch.cancel);
}

function* payloadOf(
  path: string,
  call: WireCall | undefined,
): Generator<{ readonly path: string; readonly payload: Json }> {
  if (call?.payload !== undefined) yield { path: `${path}/payload`, payload: call.payload };
}
