// The bytes of the pictures of all pasts, each once, by hash, bounded in bytes. In: pictures. Out: the same, by hash, as
// long as there is room. It knows nothing of who uses them.

import { LRUCache } from "lru-cache";
import { pictureHash } from "./kept-turns.ts";

/** Keeps pictures in memory; those that had to go are asked for where they outlive the process. */
export class KeptPictures {
  readonly #pictures: LRUCache<string, Uint8Array>;
  readonly #stored: (hash: string) => Uint8Array | undefined;

  constructor(maxBytes: number, stored: (hash: string) => Uint8Array | undefined) {
    this.#stored = stored;
    this.#pictures = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: (data) => Math.max(1, data.byteLength),
    });
  }

  /** Returns its hash. */
  keep(data: Uint8Array): string {
    const hash = pictureHash(data);
    if (!this.#pictures.has(hash)) this.#pictures.set(hash, data);
    return hash;
  }

  get(hash: string): Uint8Array | undefined {
    const known = this.#pictures.get(hash);
    if (known !== undefined) return known;
    const stored = this.#stored(hash);
    if (stored !== undefined) this.#pictures.set(hash, stored);
    return stored;
  }

  forget(hash: string): void {
    this.#pictures.delete(hash);
  }

  get bytes(): number {
    return this.#pictures.calculatedSize;
  }
}
