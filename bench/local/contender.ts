/** One way to run BEGIN, one INSERT and COMMIT. */
export interface Contender {
  readonly name: string;
  /** The hand-written code on the same driver or library that it is compared with; undefined for that one itself. */
  readonly comparedWith: string | undefined;
  open(options: OpenOptions): Promise<Opened>;
}

export interface OpenOptions {
  readonly url: string;
  readonly connections: number;
}

export interface Opened {
  once(text: string): Promise<unknown>;
  close(): Promise<unknown>;
}
