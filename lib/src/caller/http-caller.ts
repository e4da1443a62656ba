import type { BranchCall, BranchCaller, CallReply } from '../engine/ports.ts';
import type { AddressCheck } from '../http/allow-addresses.ts';
import type { HttpExchange } from '../http/exchange.ts';
import { classify, retryAfterLimitsDefault, type RetryAfterLimits } from '../wire/classify.ts';
import {
  printCallHeaders,
  traceparentHeader,
  webhookIdHeader,
  webhookSignatureHeader,
  webhookTimestampHeader,
} from '../wire/headers.ts';
import { sign, type SigningSecret } from '../wire/signature.ts';
import { messageOf } from '../util/errors.ts';
import { parsePlainUrl } from '../util/plain-url.ts';

export interface HttpCallerOptions {
  readonly exchange: HttpExchange;
  /** Which URLs may be called; asked before anything is stored, and again before each call. See `allowAddresses`. */
  readonly whyNotAllowed: AddressCheck;
  /** Milliseconds since 1970: for the signature's timestamp and for a Retry-After that names a date. */
  readonly now: () => number;
  /**
   * The secrets calls to an origin are signed with, every one of them, so that participants can change from one to the
   * next. Default: none, and calls are not signed.
   */
  readonly secretsOf?: (origin: string) => readonly SigningSecret[];
  /** Bytes of an answer's body; a larger one is unknown. Default 65,536. */
  readonly maxResponseBytes?: number;
  /** Between which limits a participant's Retry-After is honoured. Default 50 ms to 60 s. */
  readonly retryAfter?: RetryAfterLimits;
  /** The `traceparent` of a call. Default: none. See `traceparentOf`. */
  readonly traceparent?: (call: BranchCall) => string | undefined;
}

export const maxResponseBytesDefault = 65_536;

/**
 * Calls branches over HTTP, by the participant protocol (docs/reference/participant-protocol.md). `call` never rejects.
 * It asks once: whether to ask again is the engine's decision.
 */
export function httpCaller(options: HttpCallerOptions): BranchCaller {
  const { exchange, whyNotAllowed, now, secretsOf, traceparent } = options;
  const { maxResponseBytes = maxResponseBytesDefault, retryAfter = retryAfterLimitsDefault } = options;
  const targets = new Targets(whyNotAllowed);

  async function call(asked: BranchCall, signal: AbortSignal): Promise<CallReply> {
    try {
      const target = targets.of(asked.address);
      if (target.kind === 'forbidden') return misconfigured(target.reason);
      const body = asked.payload === undefined ? '' : JSON.stringify(asked.payload);
      const reply = await exchange(
        {
          origin: target.origin,
          path: target.path,
          method: 'POST',
          headers: headersOf(asked, target.origin, body),
          body,
          timeoutMs: asked.timeoutMs,
          maxResponseBytes,
        },
        signal,
      );
      return classify(reply, { op: asked.op, nowMs: now(), retryAfter });
    } catch (error) {
      // An exchange never rejects (H1), so nothing is known to come here; whatever does is no reason to stop an engine.
      return {
        outcome: { kind: 'unknown', reason: `the call failed: ${messageOf(error)}` },
        repeatable: false,
      };
    }
  }

  function headersOf(asked: BranchCall, origin: string, body: string): Record<string, string> {
    const headers = printCallHeaders(asked);
    const trace = traceparent?.(asked);
    if (trace !== undefined) headers[traceparentHeader] = trace;
    const secrets = secretsOf?.(origin) ?? [];
    if (secrets.length > 0) {
      const timestamp = String(Math.floor(now() / 1_000));
      const id = headers[webhookIdHeader] ?? '';
      headers[webhookTimestampHeader] = timestamp;
      headers[webhookSignatureHeader] = sign(secrets, { id, timestamp, body });
    }
    return headers;
  }

  return {
    call,
    destinationOf: (address) => {
      const target = targets.of(address);
      return target.kind === 'forbidden' ? address : target.origin;
    },
    whyNotAllowed: (address) => {
      const target = targets.of(address);
      return target.kind === 'forbidden' ? target.reason : undefined;
    },
  };
}

type Target =
  | { readonly kind: 'target'; readonly origin: string; readonly path: string }
  | { readonly kind: 'forbidden'; readonly reason: string };

const targetsMax = 10_000;

/** What is known of an address: the same few come with every transaction, and reading one takes several microseconds. */
class Targets {
  private readonly known = new Map<string, Target>();
  private readonly whyNotAllowed: AddressCheck;

  constructor(whyNotAllowed: AddressCheck) {
    this.whyNotAllowed = whyNotAllowed;
  }

  of(address: string): Target {
    const known = this.known.get(address);
    if (known !== undefined) return known;
    const target = this.read(address);
    if (this.known.size >= targetsMax) this.known.clear();
    this.known.set(address, target);
    return target;
  }

  private read(address: string): Target {
    const reason = this.whyNotAllowed(address);
    if (reason !== undefined) return { kind: 'forbidden', reason };
    const url = parsePlainUrl(address);
    if (url.kind === 'rejected') return { kind: 'forbidden', reason: `the URL ${url.reason}` };
    return { kind: 'target', origin: url.origin, path: url.path };
  }
}

function misconfigured(reason: string): CallReply {
  return { outcome: { kind: 'unknown', reason, misconfigured: true }, repeatable: false };
}
