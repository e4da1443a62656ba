/** What happened to one transaction, or to all, in order, for people. */
import type { History } from './history.ts';

export function story(history: History, gid: string | undefined): readonly string[] {
  const lines: { readonly seq: number; readonly at: number; readonly text: string }[] = [];
  const is = (which: string | undefined): boolean => gid === undefined || which === gid;
  const tell = ({ seq, at }: { readonly seq: number; readonly at: number }, text: string): void => {
    lines.push({ seq, at, text });
  };
  for (const operation of history.operations) {
    if (!is(operation.gid)) continue;
    const { by, coordinator, request, answer } = operation;
    const what = request.kind === 'act' ? `${request.action} ${request.branch ?? ''}`.trim() : request.kind;
    tell(operation, `${by} asks ${coordinator}: ${what} ${operation.gid} (request ${operation.id})`);
    if (answer.kind === 'view')
      tell(
        answer,
        `${by} hears: ${operation.gid} is ${answer.view.status}${answer.view.stuck ? ', stuck' : ''} (request ${operation.id})`,
      );
    if (answer.kind === 'error') tell(answer, `${by} hears: ${answer.message} (request ${operation.id})`);
  }
  for (const write of history.writes) {
    if (!is(write.gid)) continue;
    const { kind, outcome, before, after, coordinator, answered } = write;
    const from = before === undefined ? '' : ` r${before.revision} e${before.epoch} ${before.status} ->`;
    const to = after === undefined ? ' nothing' : ` r${after.revision} e${after.epoch} ${after.status}`;
    const heard = outcome === 'written' && kind !== 'claim' && !answered ? ', and nobody hears of it' : '';
    tell(write, `store: ${kind} of ${write.gid} by ${coordinator} is ${outcome}:${from}${to}${heard}`);
  }
  for (const call of history.calls) {
    if (!is(call.gid)) continue;
    const what = `${call.branch}/${call.op} of ${call.gid}`;
    tell(
      call,
      `${call.coordinator} calls ${call.participant}: ${what}, attempt ${call.attempt} (call ${call.id})`,
    );
    if (call.reply === undefined) continue;
    const { outcome } = call.reply;
    const reason = 'reason' in outcome ? `: ${outcome.reason}` : '';
    tell(call.reply, `${call.coordinator} takes call ${call.id}, ${what}, for ${outcome.kind}${reason}`);
  }
  for (const handled of history.handled) {
    if (is(handled.gid))
      tell(
        handled,
        `${handled.participant}: ${handled.branch}/${handled.op} of ${handled.gid} ${handled.how} (call ${handled.call})`,
      );
  }
  for (const effect of history.effects) {
    if (!is(effect.gid)) continue;
    tell(
      effect,
      `${effect.participant}: ${effect.account} ${signed(effect.delta)}, held ${signed(effect.held)} by ${effect.branch}/${effect.op} of ${effect.gid}`,
    );
  }
  for (const alarm of history.alarms)
    if (is(alarm.gid) || alarm.gid === undefined)
      tell(alarm, `${alarm.coordinator} alarms ${alarm.code}: ${alarm.message}`);
  for (const life of history.lives) tell(life, `${life.process} ${life.kind}`);
  for (const lease of history.leases) {
    if (lease.kind !== 'renewed')
      tell(lease, `store: lease of ${lease.coordinator}, epoch ${lease.epoch}, ${lease.kind}`);
  }
  if (history.healedAt !== Infinity)
    lines.push({ seq: seqAt(lines, history.healedAt), at: history.healedAt, text: '---- healed ----' });
  return lines
    .toSorted((a, b) => a.seq - b.seq)
    .map(({ at, text }) => `${(at / 1_000).toFixed(4).padStart(10)}  ${text}`);
}

function seqAt(lines: readonly { readonly seq: number; readonly at: number }[], at: number): number {
  return lines.reduce((seq, line) => (line.at <= at ? Math.max(seq, line.seq) : seq), 0) + 0.5;
}

function signed(value: number): string {
  return value > 0 ? `+${value}` : String(value);
}
