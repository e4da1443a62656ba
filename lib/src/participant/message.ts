/** What comes in and goes out, whatever the framework. Glue turns its own requests and answers into these. */
import type { IncomingHeaders } from '../wire/headers.ts';

export interface HandlerRequest {
  readonly method: string;
  /** Path, with or without query. Only definitions look at it, and only at its last two segments. */
  readonly path: string;
  /** Names in lower case. */
  readonly headers: IncomingHeaders;
  /**
   * As it came, byte for byte: the signature covers it. Glue may stop reading after one byte more than
   * {@link Handler.bodyBytesMax}.
   */
  readonly body: string | Uint8Array;
  /** Aborts when the caller has gone. Default: never. */
  readonly signal?: AbortSignal;
}

export interface HandlerResponse {
  readonly status: number;
  readonly headers: Readonly<Record<string, string>>;
  readonly body: string;
}

/** Answers a branch call. Never rejects. */
export interface Handler {
  (request: HandlerRequest): Promise<HandlerResponse>;
  readonly bodyBytesMax: number;
}
