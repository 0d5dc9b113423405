// Features of pictures that were encoded before, by tensor key, in full precision: the same picture gives the same answer
// whether it was seen before or not. It is bounded in bytes and forgets what was not used for longest.

import { LRUCache } from "lru-cache";
import type { Forgettable } from "./prefix-blocks.ts";
import type { Owner } from "./prefix-cache.ts";
import type { VisionFeatures } from "./vision-encoder.ts";

interface Entry {
  readonly features: VisionFeatures;
  /** Whoever stored or used it. */
  readonly chats: Set<string | undefined>;
}

/** Key, sizes and bookkeeping of an entry, roughly. */
const ENTRY_OVERHEAD_BYTES = 512;

/** Features of pictures. */
export class FeatureCache {
  readonly #entries: LRUCache<string, Entry> | undefined;

  /** @param maxBytes `0` keeps nothing. */
  constructor(maxBytes: number) {
    if (maxBytes === 0) return;
    this.#entries = new LRUCache({
      maxSize: maxBytes,
      sizeCalculation: ({ features }) => features.byteLength + ENTRY_OVERHEAD_BYTES,
    });
  }

  get pictures(): number {
    return this.#entries?.size ?? 0;
  }

  /** Never more than `maxBytes`. */
  get totalBytes(): number {
    return this.#entries?.calculatedSize ?? 0;
  }

  get(key: string, { chat }: Owner): VisionFeatures | undefined {
    const entry = this.#entries?.get(key);
    entry?.chats.add(chat);
    return entry?.features;
  }

  set(key: string, features: VisionFeatures, { chat }: Owner): void {
    const chats = this.#entries?.peek(key)?.chats ?? new Set();
    this.#entries?.set(key, { features, chats: chats.add(chat) });
  }

  /** Takes away these pictures, and those that only this chat used. */
  forget({ picture, chat }: Forgettable): { readonly pictures: number; readonly bytes: number } {
    const before = { pictures: this.pictures, bytes: this.totalBytes };
    for (const [key, { chats }] of [...(this.#entries?.entries() ?? [])]) {
      if (chat !== undefined) chats.delete(chat);
      if (picture?.(key) || chats.size === 0) this.#entries?.delete(key);
    }
    return { pictures: before.pictures - this.pictures, bytes: before.bytes - this.totalBytes };
  }

  clear(): void {
    this.#entries?.clear();
  }
}
