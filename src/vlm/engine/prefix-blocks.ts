// Blocks of keys and values by their names, each behind the one in front of it: bounded in bytes, and what was not used for
// longest goes first, ends of sequences before their beginnings. Where blocks lie on a device, those that no longer fit there
// go to the memory of the host before they are forgotten, and come back when they are used. In: blocks that were copied out
// of slots. Out: the same. It knows nothing of what is inside a block, or of what is looked for.

import { LRUCache } from "lru-cache";
import type { KvBlock, KvSlot } from "./decoder-backend.ts";
import { type ContentPart, TokenContent } from "./token-content.ts";

export interface PrefixBlocksOptions {
  /** `0` keeps nothing. */
  readonly maxBytes: number;
  /** Of the memory of the host, beside that of a device. */
  readonly maxHostBytes: number;
  /** Of a whole block. */
  readonly blockTokens: number;
}

/** What can be taken away again. */
export interface Forgettable {
  /** Does this picture key belong to what has to go? */
  readonly picture?: (key: string) => boolean;
  readonly chat?: string | undefined;
}

/** A block, and where it belongs. */
export interface PrefixBlock {
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

/** Names and bookkeeping of a block, roughly. */
const OVERHEAD_BYTES = 1024;
const NOTHING: ReadonlySet<PrefixBlock> = new Set();

/** The blocks that are kept. */
export class PrefixBlocks {
  readonly #options: PrefixBlocksOptions;
  #hostBytes = 0;
  readonly #entries: LRUCache<string, PrefixBlock> | undefined;
  readonly #children = new Map<string, Set<PrefixBlock>>();

  constructor(options: PrefixBlocksOptions) {
    this.#options = options;
    const { maxBytes, maxHostBytes } = options;
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

  get count(): number {
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

  /** The block with a name. It counts as used only when it is touched. */
  named(name: string): PrefixBlock | undefined {
    return this.#entries?.peek(name);
  }

  /** Blocks right behind another; behind "" those at the beginning. */
  behind(name: string): ReadonlySet<PrefixBlock> {
    return this.#children.get(name) ?? NOTHING;
  }

  /** Keeps a block, and forgets what has no room any more. */
  async add(entry: PrefixBlock): Promise<void> {
    await this.#makeRoom(sizeOf(entry));
    this.#link(entry);
  }

  /** Makes entries the latest used, the beginning of a sequence last of all: so its end goes first. */
  touch(chain: readonly PrefixBlock[], chat: string | undefined): void {
    for (const entry of chain.toReversed()) {
      if (this.#entries?.get(entry.name) === entry) entry.chats.add(chat);
    }
  }

  /** A slot holds again what is on the host: it is kept on the device from now on. */
  async bringBack(entry: PrefixBlock, slot: KvSlot, start: number, stop: number): Promise<void> {
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

  /** Takes away everything that holds one of the pictures, and everything that only this chat used. */
  forget({ picture, chat }: Forgettable): { readonly blocks: number; readonly bytes: number } {
    const before = { blocks: this.count, bytes: this.totalBytes };
    for (const entry of [...(this.#entries?.values() ?? [])]) {
      if (chat !== undefined) entry.chats.delete(chat);
      const seen = picture !== undefined && [...entry.pictures].some(picture);
      if (seen || entry.chats.size === 0) this.#entries?.delete(entry.name);
    }
    return { blocks: before.blocks - this.count, bytes: before.bytes - this.totalBytes };
  }

  clear(): void {
    this.#entries?.clear();
  }

  /** What was not used for longest goes from the device to the host, or is forgotten. */
  async #makeRoom(bytes: number): Promise<void> {
    while (this.totalBytes - this.#hostBytes + bytes > this.#options.maxBytes) {
      const oldest = this.#oldest(false);
      if (!oldest) return;
      if (await this.#sendToHost(oldest)) continue;
      if (this.#has(oldest)) this.#entries?.delete(oldest.name);
    }
  }

  /** Is it there now? */
  async #sendToHost(entry: PrefixBlock): Promise<boolean> {
    const size = sizeOf(entry);
    if (!entry.kv.toHost || size > this.#options.maxHostBytes) return false;
    const copy = await entry.kv.toHost().catch(() => undefined);
    if (!copy || !this.#has(entry)) {
      copy?.dispose?.(); // Forgotten on the way.
      return false;
    }
    while (this.#hostBytes + size > this.#options.maxHostBytes) {
      this.#entries?.delete(this.#oldest(true)!.name);
    }
    entry.kv.dispose?.();
    entry.kv = copy;
    entry.onHost = true;
    this.#hostBytes += size;
    return true;
  }

  #has(entry: PrefixBlock): boolean {
    return this.#entries?.peek(entry.name) === entry;
  }

  #oldest(onHost: boolean): PrefixBlock | undefined {
    for (const entry of this.#entries?.rvalues() ?? []) {
      if (entry?.onHost === onHost) return entry;
    }
    return undefined;
  }

  #link(entry: PrefixBlock): void {
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
      const isEnd = length < this.#options.blockTokens && length <= entry.part.ids.length;
      if (sibling === entry || !isEnd) continue;
      if (content.common(0, sibling.part) === length) this.#entries?.delete(sibling.name);
    }
  }

  #unlink(entry: PrefixBlock): void {
    entry.kv.dispose?.();
    if (entry.onHost) this.#hostBytes -= sizeOf(entry);
    const siblings = this.#children.get(entry.parent);
    siblings?.delete(entry);
    if (siblings?.size === 0) this.#children.delete(entry.parent);
  }
}

/** What a block counts for. */
export function sizeOf({ kv }: PrefixBlock): number {
  return kv.byteLength + OVERHEAD_BYTES;
}
