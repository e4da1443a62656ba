/**
 * One number for all that happened in a run, in its order: two runs of a seed are the same run only if it is equal.
 * Two lanes of 32 bits, FNV-1a over UTF-16 units and over numbers.
 */
export class TraceHash {
  #a = 0x811c9dc5;
  #b = 0xc2b2ae35;

  text(text: string): void {
    for (let i = 0; i < text.length; i++) this.#mix(text.charCodeAt(i));
    this.#mix(0xffff);
  }

  /** To a thousandth. */
  number(value: number): void {
    const scaled = Math.round(value * 1_000);
    this.#mix(scaled | 0);
    this.#mix(Math.floor(scaled / 2 ** 32));
  }

  get value(): string {
    return [this.#a, this.#b].map((lane) => (lane >>> 0).toString(16).padStart(8, '0')).join('');
  }

  #mix(bits: number): void {
    this.#a = Math.imul(this.#a ^ bits, 0x01000193);
    this.#b = Math.imul(this.#b ^ bits ^ (this.#a >>> 15), 0x85ebca6b);
  }
}
