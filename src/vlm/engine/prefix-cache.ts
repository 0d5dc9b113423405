// Keys and values computed before, by content: blocks of tokens, each named by itself and everything in front of it.
// In: slots to copy from, and slots to copy into. What is kept, and for how long, is the business of its blocks. It knows
// nothing of what is inside a block.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { KvSlot } from "./decoder-backend.ts";
import { type Forgettable, type PrefixBlock, PrefixBlocks, sizeOf } from "./prefix-blocks.ts";
import type { TokenContent } from "./token-content.ts";

export interface PrefixCacheOptions {
  /** `0` keeps nothing. */
  readonly maxBytes: number;
  /** Of the memory of the host, beside that of a device. @default 0 */
  readonly maxHostBytes?: number;
  /** @default 32 */
  readonly blockTokens?: number;
}

/** Whose a block is. */
export interface Owner {
  /** Undefined: nobody's in particular, and not forgotten with any chat. */
  readonly chat: string | undefined;
  /** What is being computed must not be kept. */
  readonly forgotten?: boolean;
}

const DEFAULT_BLOCK_TOKENS = 32;
/** Blocks of keys and values. */
export class PrefixCache {
  readonly blockTokens: number;
  readonly #maxBytes: number;
  readonly #blocks: PrefixBlocks;

  constructor({
    maxBytes,
    maxHostBytes = 0,
    blockTokens = DEFAULT_BLOCK_TOKENS,
  }: PrefixCacheOptions) {
    this.blockTokens = blockTokens;
    this.#maxBytes = maxBytes;
    this.#blocks = new PrefixBlocks({ maxBytes, maxHostBytes, blockTokens });
  }

  get enabled(): boolean {
    return this.#blocks.enabled;
  }

  get blocks(): number {
    return this.#blocks.count;
  }

  /** Never more than `maxBytes` and `maxHostBytes` together. */
  get totalBytes(): number {
    return this.#blocks.totalBytes;
  }

  /** Of them those on the host that were on a device before: never more than `maxHostBytes`. */
  get hostBytes(): number {
    return this.#blocks.hostBytes;
  }

  /** How many of the first tokens are there, up to `limit`. */
  match(content: TokenContent, limit: number): number {
    const found = this.#find(content, limit);
    return found.reduce((sum, { tokens }) => sum + tokens, 0);
  }

  /**
   * Appends to a slot what it has not and the cache has, up to `limit` tokens in all. What is in the slot must be the
   * beginning of the content.
   */
  async restore(content: TokenContent, slot: KvSlot, limit: number, owner: Owner): Promise<void> {
    const found = this.#find(content, limit);
    const tokens = found.reduce((sum, part) => sum + part.tokens, 0);
    if (tokens <= slot.length) return;
    this.#blocks.touch(
      found.map(({ entry }) => entry),
      owner.chat,
    );
    const first = Math.floor(slot.length / this.blockTokens);
    slot.truncate(first * this.blockTokens);
    const slice = new TimeSlice();
    for (const part of found.slice(first)) {
      if (slice.over) await slice.rest();
      await slot.append(part.entry.kv, part.tokens);
    }
  }

  /**
   * Keeps what a slot holds of a sequence: its whole blocks, and the rest as well when it is not going to grow.
   *
   * @param tail also what does not fill a block
   */
  async remember(
    content: TokenContent,
    slot: KvSlot,
    owner: Owner,
    { tail = false }: { readonly tail?: boolean } = {},
  ): Promise<void> {
    if (!this.enabled || owner.forgotten) return;
    const end = Math.min(slot.length, content.length);
    const chain: PrefixBlock[] = [];
    const slice = new TimeSlice();
    let bytes = 0;
    try {
      for (let start = 0; start < end; start += this.blockTokens) {
        const stop = Math.min(start + this.blockTokens, end);
        if (stop - start < this.blockTokens && !tail) break;
        if (slice.over) await slice.rest();
        const known = this.#known(content, start, stop);
        const entry = known ?? (await this.#copy(content, start, stop, slot, chain.at(-1)));
        bytes += sizeOf(entry);
        if (bytes > this.#maxBytes || owner.forgotten) {
          if (!known) entry.kv.dispose?.();
          break;
        }
        chain.push(entry);
        if (known && !known.onHost) continue;
        // Its beginnings were all used just now: what goes to make room is something else.
        this.#blocks.touch(chain.slice(0, -1), owner.chat);
        if (known) await this.#blocks.bringBack(known, slot, start, stop);
        else await this.#blocks.add(entry);
      }
    } finally {
      if (!owner.forgotten) this.#blocks.touch(chain, owner.chat);
    }
  }

  /** Takes away everything that holds one of the pictures, and everything that only this chat used. */
  forget(what: Forgettable): { readonly blocks: number; readonly bytes: number } {
    return this.#blocks.forget(what);
  }

  clear(): void {
    this.#blocks.clear();
  }

  /** The blocks that a content begins with, and how many tokens of each; only the last may be less than whole. */
  #find(content: TokenContent, limit: number): { entry: PrefixBlock; tokens: number }[] {
    const found: { entry: PrefixBlock; tokens: number }[] = [];
    if (!this.enabled) return found;
    const { blockTokens } = this;
    let parent = "";
    for (let start = 0; start < limit; start += blockTokens) {
      const whole = start + blockTokens <= content.length;
      const name = whole ? content.blockName(start / blockTokens, blockTokens) : "";
      const same = whole ? this.#blocks.named(name) : undefined;
      if (same) {
        found.push({ entry: same, tokens: Math.min(blockTokens, limit - start) });
        parent = name;
        continue;
      }
      // The tokens part ways in here: as far as they are the same, so are keys and values.
      let [best, most]: [PrefixBlock | undefined, number] = [undefined, 0];
      for (const child of this.#blocks.behind(parent)) {
        const tokens = Math.min(content.common(start, child.part), limit - start);
        if (tokens > most) [best, most] = [child, tokens];
      }
      if (best) found.push({ entry: best, tokens: most });
      break;
    }
    return found;
  }

  /** An entry that holds these tokens already. */
  #known(content: TokenContent, start: number, stop: number): PrefixBlock | undefined {
    const { blockTokens } = this;
    const tokens = stop - start;
    if (tokens === blockTokens) {
      return this.#blocks.named(content.blockName(start / blockTokens, blockTokens));
    }
    const siblings = this.#blocks.behind(this.#parentName(content, start));
    return [...siblings].find((child) => content.common(start, child.part) >= tokens);
  }

  async #copy(
    content: TokenContent,
    start: number,
    stop: number,
    slot: KvSlot,
    parent: PrefixBlock | undefined,
  ): Promise<PrefixBlock> {
    const { blockTokens } = this;
    const whole = stop - start === blockTokens;
    const part = content.part(start, stop);
    const pictures = part.pictures.map(({ key }) => key);
    const inFront = parent?.pictures ?? new Set<string>();
    return {
      name: whole
        ? content.blockName(start / blockTokens, blockTokens)
        : content.tailName(stop, blockTokens),
      parent: this.#parentName(content, start),
      part,
      kv: await slot.read(start, stop),
      onHost: false,
      pictures: pictures.every((key) => inFront.has(key))
        ? inFront
        : new Set([...inFront, ...pictures]),
      chats: new Set(),
    };
  }

  #parentName(content: TokenContent, start: number): string {
    if (start === 0) return "";
    return content.blockName(start / this.blockTokens - 1, this.blockTokens);
  }
}
