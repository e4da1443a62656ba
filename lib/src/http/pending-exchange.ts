import { isUtf8 } from 'node:buffer';
import { failureOf } from './failure-of.ts';
import { LinkedSet } from '../util/linked-set.ts';
import { onAbort } from '../util/on-abort.ts';
import type { HttpFailure, HttpReply, HttpRequest, ResponseHeaders } from './exchange.ts';

/** All exchanges of one client that are under way, so that closing it can end them. */
export class ExchangesUnderWay {
  private readonly all = new LinkedSet<PendingExchange>();

  /** Starts an exchange; `send` gives its request to the transport and lets the transport feed it. */
  run(
    request: HttpRequest,
    signal: AbortSignal,
    send: (pending: PendingExchange) => void,
  ): Promise<HttpReply> {
    return new Promise((resolve) => {
      if (signal.aborted) {
        resolve({ kind: 'failed', failure: 'aborted', sent: false, detail: 'the caller gave up' });
        return;
      }
      const pending = new PendingExchange(request, signal, (reply) => {
        this.all.remove(place);
        resolve(reply);
      });
      const place = this.all.add(pending);
      try {
        send(pending);
      } catch (error) {
        pending.error(error);
      }
    });
  }

  abort(): void {
    for (let pending = this.all.removeLast(); pending !== undefined; pending = this.all.removeLast())
      pending.fail('aborted', 'the exchange was closed');
  }
}

/**
 * One exchange on its way: its deadline, its limits, and the one reply it settles with (H1-H3).
 *
 * A transport feeds it (`started`, `head`, `data`, `end`, `error`) and hands over how to tear itself down (`teardown`).
 * After the reply everything that still arrives is ignored.
 */
export class PendingExchange {
  private readonly resolve: (reply: HttpReply) => void;
  private readonly maxResponseBytes: number;
  private readonly timer: NodeJS.Timeout;
  private readonly forgetSignal: () => void;
  private teardownTransport: (() => void) | undefined;
  private settled = false;
  private sent = false;
  private status = 0;
  private headers: ResponseHeaders = {};
  private expected: number | undefined;
  private received = 0;
  // Nearly every answer comes in one piece; only the others pay for a list.
  private first: Buffer | undefined;
  private rest: Buffer[] | undefined;

  constructor(request: HttpRequest, signal: AbortSignal, resolve: (reply: HttpReply) => void) {
    this.resolve = resolve;
    this.maxResponseBytes = request.maxResponseBytes;
    this.timer = setTimeout(
      () => this.fail('timeout', `no complete answer within ${request.timeoutMs} ms`),
      request.timeoutMs,
    );
    this.forgetSignal = onAbort(signal, () => this.fail('aborted', 'the caller gave up'));
  }

  get isSettled(): boolean {
    return this.settled;
  }

  /** How to stop the transport. Runs at once if the exchange has settled meanwhile. */
  teardown(how: () => void): void {
    if (this.settled) how();
    else this.teardownTransport = how;
  }

  /** From here on bytes of the request may have left. */
  started(): void {
    this.sent = true;
  }

  head(status: number, headers: ResponseHeaders): void {
    // Interim answers announce; they do not answer.
    if (this.settled || (status < 200 && status !== 101)) return;
    this.status = status;
    this.headers = headers;
    if (status === 101) return this.fail('malformed', 'the answer switches protocols');
    const encoding = headers['content-encoding'];
    if (encoding !== undefined && encoding !== 'identity') {
      return this.fail('malformed', 'the answer is encoded, which was not accepted');
    }
    if (status === 204 || status === 304) return;
    const length = headers['content-length'];
    if (length !== undefined && headers['transfer-encoding'] !== undefined) {
      this.fail('malformed', 'the answer says two things about its length');
    } else if (length !== undefined) {
      this.expected = Number(length);
      if (this.expected > this.maxResponseBytes) this.tooLarge();
    } else if (headers['transfer-encoding'] !== undefined) {
      if (headers['transfer-encoding'] !== 'chunked')
        this.fail('malformed', 'the answer is not in plain chunks');
    } else {
      // Only the end of the connection would end this answer, and a crash looks the same.
      this.fail('truncated', 'the answer says neither its length nor that it comes in chunks');
    }
  }

  data(chunk: Buffer): void {
    if (this.settled) return;
    this.received += chunk.length;
    if (this.received > this.maxResponseBytes) return this.tooLarge();
    if (this.first === undefined) this.first = chunk;
    else (this.rest ??= [this.first]).push(chunk);
  }

  /** The transport saw the answer's regular end. */
  end(): void {
    if (this.settled) return;
    if (this.status === 0) return this.fail('truncated', 'the connection ended without an answer');
    if (this.expected !== undefined && this.expected !== this.received) {
      return this.fail('truncated', `${this.received} of ${this.expected} bytes came`);
    }
    const body = this.rest === undefined ? this.first : Buffer.concat(this.rest);
    if (body !== undefined && !isUtf8(body)) return this.fail('malformed', 'the answer is not UTF-8');
    this.settle({
      kind: 'response',
      status: this.status,
      headers: this.headers,
      body: body === undefined ? '' : body.toString('utf8'),
    });
  }

  error(error: unknown): void {
    if (this.settled) return;
    const { failure, beforeSending, detail } = failureOf(error);
    if (beforeSending) this.sent = false;
    // A cut in mid-answer is told apart from a reset before one: it says more about what happened.
    this.fail(failure === 'reset' && this.status !== 0 ? 'truncated' : failure, detail);
  }

  /** The connection is gone, and no more of an answer comes. */
  closed(): void {
    if (this.status === 0) this.fail('reset', 'the connection ended without an answer');
  }

  fail(failure: HttpFailure, detail: string): void {
    if (this.settled) return;
    this.settle({ kind: 'failed', failure, sent: this.sent, detail });
    this.teardownTransport?.();
  }

  private tooLarge(): void {
    this.fail('too-large', `the answer is larger than ${this.maxResponseBytes} bytes`);
  }

  private settle(reply: HttpReply): void {
    this.settled = true;
    clearTimeout(this.timer);
    this.forgetSignal();
    this.resolve(reply);
  }
}
