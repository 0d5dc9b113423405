// Keys and values computed before, by content: blocks of tokens, each named by itself and everything in front of it.
// In: slots to copy from, and slots to copy into. It is bounded in bytes and forgets what was not used for longest,
// ends of sequences before their beginnings. Where blocks lie on a device, those that no longer fit there go to the memory
// of the host before they are forgotten, and come back when they are used. It knows nothing of what is inside a block.

import { LRUCache } from "lru-cache";
import { TimeSlice } from "../image/time-slice.ts";
import type { KvBlock, KvSlot } from "./decoder-backend.ts";
import { type ContentPart, TokenContent } from "./token-content.ts";

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

/** What can be taken away again. */
export interface Forgettable {
  /** Does this picture key belong to what has to go? */
  readonly picture?: (key: string) => boolean;
  readonly chat?: string | undefined;
}

interface Entry {
  readonly name: string;
  /** Name of the block in front; "" for the first. */
  readonly parent: string;
  readonly part: ContentPart;
  kv: KvBlock;
  /** Has it left the device for the host? */
  onHost: boolean;
  /** Keys of the pictures in it and in front of it. */
  readonly pictures: ReadonlySet<string>;
  /** Whoever stored or used it. */
  readonly chats: Set<string | undefined>;
}

const DEFAULT_BLOCK_TOKENS = 32;
/** Names and bookkeeping of an entry, roughly. */
const ENTRY_OVERHEAD_BYTES = 1024;
const NOTHING: ReadonlySet<Entry> = new Set();

/** Blocks of keys and values. */
export class PrefixCache {
  readonly blockTokens: number;
  readonly #maxBytes: number;
  readonly #maxHostBytes: number;
  #hostBytes = 0;
  readonly #entries: LRUCache<string, Entry> | undefined;
  readonly #children = new Map<string, Set<Entry>>();

  constructor({
    maxBytes,
    maxHostBytes = 0,
    blockTokens = DEFAULT_BLOCK_TOKENS,
  }: PrefixCacheOptions) {
    this.blockTokens = blockTokens;
    this.#maxBytes = maxBytes;
    this.#maxHostBytes = maxHostBytes;
    if (maxBytes === 0) return; // Nor anything on the host: everything goes there by way of the device.
    this.#entries = new LRUCache({
      maxSize: maxBytes + maxHostBytes,
      sizeCalculation: sizeOf,
      dispose: (entry) => this.#unlink(entry),
    });
  }

  get enabled(): boolean {
    return this.#entries !== undefined;
  }

  get blocks(): number {
    return this.#entries?.size ?? 0;
  }

  /** Never more than `maxBytes` and `maxHostBytes` together. */
  get totalBytes(): number {
    return this.#entries?.calculatedSize ?? 0;
  }

  /** Of them those on the host that were on a device before: never more than `maxHostBytes`. */
  get hostBytes(): number {
    return this.#hostBytes;
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
    this.#touch(
      found.map(({ entry }) => entry),
      owner,
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
    if (!this.#entries || owner.forgotten) return;
    const end = Math.min(slot.length, content.length);
    const chain: Entry[] = [];
    const slice = new TimeSlice();
    let bytes = 0;
    for (let start = 0; start < end; start += this.blockTokens) {
      const stop = Math.min(start + this.blockTokens, end);
      if (stop - start < this.blockTokens && !tail) break;
      if (slice.over) await slice.rest();
      const known = this.#known(content, start, stop);
      const entry = known ?? (await this.#copy(content, start, stop, slot, chain.at(-1)));
      bytes += entry.kv.byteLength + ENTRY_OVERHEAD_BYTES;
      if (bytes > this.#maxBytes || owner.forgotten) {
        if (!known) entry.kv.dispose?.();
        break;
      }
      chain.push(entry);
      // Its beginnings were all used just now: what goes to make room is something else.
      this.#touch(chain.slice(0, -1), owner);
      if (!known) await this.#add(entry);
      else if (known.onHost) await this.#bringBack(known, slot, start, stop);
      this.#touch(chain, owner);
    }
  }

  /** Takes away everything that holds one of the pictures, and everything that only this chat used. */
  forget({ picture, chat }: Forgettable): { readonly blocks: number; readonly bytes: number } {
    const before = { blocks: this.blocks, bytes: this.totalBytes };
    for (const entry of [...(this.#entries?.values() ?? [])]) {
      if (chat !== undefined) entry.chats.delete(chat);
      const seen = picture !== undefined && [...entry.pictures].some(picture);
      if (seen || entry.chats.size === 0) this.#entries?.delete(entry.name);
    }
    return { blocks: before.blocks - this.blocks, bytes: before.bytes - this.totalBytes };
  }

  clear(): void {
    this.#entries?.clear();
  }

  /** The blocks that a content begins with, and how many tokens of each; only the last may be less than whole. */
  #find(content: TokenContent, limit: number): { entry: Entry; tokens: number }[] {
    const found: { entry: Entry; tokens: number }[] = [];
    if (!this.#entries) return found;
    const { blockTokens } = this;
    let parent = "";
    for (let start = 0; start < limit; start += blockTokens) {
      const whole = start + blockTokens <= content.length;
      const name = whole ? content.blockName(start / blockTokens, blockTokens) : "";
      const same = whole ? this.#entries.peek(name) : undefined;
      if (same) {
        found.push({ entry: same, tokens: Math.min(blockTokens, limit - start) });
        parent = name;
        continue;
      }
      // The tokens part ways in here: as far as they are the same, so are keys and values.
      let [best, most]: [Entry | undefined, number] = [undefined, 0];
      for (const child of this.#children.get(parent) ?? NOTHING) {
        const tokens = Math.min(content.common(start, child.part), limit - start);
        if (tokens > most) [best, most] = [child, tokens];
      }
      if (best) found.push({ entry: best, tokens: most });
      break;
    }
    return found;
  }

  /** An entry that holds these tokens already. */
  #known(content: TokenContent, start: number, stop: number): Entry | undefined {
    const { blockTokens } = this;
    const tokens = stop - start;
    if (tokens === blockTokens) {
      return this.#entries?.peek(content.blockName(start / blockTokens, blockTokens));
    }
    const siblings = this.#children.get(this.#parentName(content, start)) ?? NOTHING;
    return [...siblings].find((child) => content.common(start, child.part) >= tokens);
  }

  async #copy(
    content: TokenContent,
    start: number,
    stop: number,
    slot: KvSlot,
    parent: Entry | undefined,
  ): Promise<Entry> {
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

  async #add(entry: Entry): Promise<void> {
    await this.#makeRoom(sizeOf(entry));
    this.#link(entry);
  }

  /** What was not used for longest goes from the device to the host, or is forgotten. */
  async #makeRoom(bytes: number): Promise<void> {
    while (this.totalBytes - this.#hostBytes + bytes > this.#maxBytes) {
      const oldest = this.#oldest(false);
      if (!oldest) return;
      if (await this.#sendToHost(oldest)) continue;
      if (this.#has(oldest)) this.#entries?.delete(oldest.name);
    }
  }

  /** Is it there now? */
  async #sendToHost(entry: Entry): Promise<boolean> {
    const size = sizeOf(entry);
    if (!entry.kv.toHost || size > this.#maxHostBytes) return false;
    const copy = await entry.kv.toHost().catch(() => undefined);
    if (!copy || !this.#has(entry)) {
      copy?.dispose?.(); // Forgotten on the way.
      return false;
    }
    while (this.#hostBytes + size > this.#maxHostBytes) {
      this.#entries?.delete(this.#oldest(true)!.name);
    }
    entry.kv.dispose?.();
    entry.kv = copy;
    entry.onHost = true;
    this.#hostBytes += size;
    return true;
  }

  /** A slot holds again what is on the host: it is kept on the device from now on. */
  async #bringBack(entry: Entry, slot: KvSlot, start: number, stop: number): Promise<void> {
    if (entry.part.ids.length !== stop - start) return;
    await this.#makeRoom(sizeOf(entry));
    const there = await slot.read(start, stop).catch(() => undefined);
    if (!there) return;
    if (!this.#has(entry)) return there.dispose?.();
    entry.kv.dispose?.();
    entry.kv = there;
    entry.onHost = false;
    this.#hostBytes -= sizeOf(entry);
  }

  #has(entry: Entry): boolean {
    return this.#entries?.peek(entry.name) === entry;
  }

  #oldest(onHost: boolean): Entry | undefined {
    for (const entry of this.#entries?.rvalues() ?? []) {
      if (entry?.onHost === onHost) return entry;
    }
    return undefined;
  }

  #link(entry: Entry): void {
    this.#entries?.set(entry.name, entry);
    if (this.#entries?.peek(entry.name) !== entry) {
      entry.kv.dispose?.();
      return;
    }
    const siblings = this.#children.get(entry.parent) ?? new Set();
    this.#children.set(entry.parent, siblings.add(entry));
    // Shorter ends of the same tokens are in this one.
    const content = new TokenContent(entry.part.ids, entry.part.pictures);
    for (const sibling of siblings) {
      const { length } = sibling.part.ids;
      if (sibling === entry || length >= this.blockTokens || length > entry.part.ids.length)
        continue;
      if (content.common(0, sibling.part) === length) this.#entries?.delete(sibling.name);
    }
  }

  #unlink(entry: Entry): void {
    entry.kv.dispose?.();
    if (entry.onHost) this.#hostBytes -= sizeOf(entry);
    const siblings = this.#children.get(entry.parent);
    siblings?.delete(entry);
    if (siblings?.size === 0) this.#children.delete(entry.parent);
  }

  /** Makes entries the latest used, the beginning of a sequence last of all: so its end goes first. */
  #touch(chain: readonly Entry[], { chat }: Owner): void {
    for (const entry of chain.toReversed()) {
      if (this.#entries?.get(entry.name) === entry) entry.chats.add(chat);
    }
  }
}

function sizeOf({ kv }: Entry): number {
  return kv.byteLength + ENTRY_OVERHEAD_BYTES;
}
