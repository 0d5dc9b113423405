// Memory for the keys and values of several sequences at once: for every layer one slab for keys and one for values,
// (slots, kv heads, capacity, head size). A row of a slab is a cache of one sequence, its leading rows are a batch.
// It lies where the decoder computes, and pages that no token has reached are not there yet. It knows nothing of tokens.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { Session } from "../runtime/session.ts";
import type { Value } from "../runtime/value.ts";
import { KvCache, type PackedKv } from "./kv-cache.ts";
import {
  type KvPart,
  layerOfValues,
  piecesOf,
  reserveSlabs,
  type Slab,
  scalePieces,
} from "./kv-slabs.ts";
import type { BoundBeside, BoundLanes, BoundRows, LanePool } from "./lane-slots.ts";
import { type Growth, ValueScales } from "./value-scales.ts";

/** The slots of a decoder. */
export class KvSlots implements LanePool {
  readonly count: number;
  /** Most tokens that fit into a slot. */
  readonly capacity: number;
  /** Memory when every slot is full. */
  readonly byteLength: number;
  readonly #blocks: readonly Value[];
  readonly #slabs: readonly Slab[];
  readonly #tokenBytes: number;
  readonly #bound = new Map<string, BoundRows>();
  /** Who has which row. */
  readonly #owners: (KvCache | undefined)[];
  readonly scales: ValueScales | undefined;
  /** Copies in and out of int8 values follow one another, so that none has levels of two scales. */
  #lastCopy: Promise<unknown> = Promise.resolve();

  /** Reserves the memory of a session on the CPU. */
  constructor(session: Session, parts: readonly KvPart[], count: number, capacity: number) {
    expectCount("slots", count);
    expectCount("capacity", capacity);
    this.count = count;
    this.capacity = capacity;
    this.#owners = Array.from({ length: count }, () => undefined);
    this.scales = ValueScales.of(session);
    const { blocks, slabs } = reserveSlabs(session, parts, count, capacity);
    this.#blocks = blocks;
    this.#slabs = slabs;
    this.#tokenBytes = slabs.reduce((sum, slab) => sum + slab.heads * slab.tokenBytes, 0);
    this.byteLength = blocks.reduce((sum, block) => sum + block.byteLength, 0);
  }

  /** The free row that comes first: rows that are rarely reached stay untouched memory. */
  open(): KvCache {
    const row = this.#owners.indexOf(undefined);
    if (row === -1) throw new RangeError(`All ${this.count} slots are taken`);
    const cache = new KvCache(this, row);
    this.#owners[row] = cache;
    return cache;
  }

  /** @internal */
  close(cache: KvCache): void {
    this.#owners[cache.row] = undefined;
  }

  /** One row alone. */
  row(row: number): BoundRows {
    return this.#bind(row, 1);
  }

  async bindOne({ row }: KvCache): Promise<BoundRows> {
    return this.row(row);
  }

  /** A single one may lie anywhere. */
  async bindLanes(caches: readonly KvCache[]): Promise<BoundLanes> {
    const [first, ...others] = caches as [KvCache, ...KvCache[]];
    if (others.length === 0) return { ...this.row(first.row), lanes: [0], lengths: [first.length] };
    const bound = await this.lead(caches);
    const lengths = caches.toSorted((a, b) => a.row - b.row).map(({ length }) => length);
    return { ...bound, lanes: caches.map(({ row }) => row), lengths };
  }

  async bindBeside(cache: KvCache, caches: readonly KvCache[]): Promise<BoundBeside> {
    const others = await this.bindLanes(caches); // it may move from where they go
    return { one: this.row(cache.row), others };
  }

  /**
   * Moves caches so that they are the leading rows, in whatever order, and binds these rows together.
   * Whoever was in these rows gets the places of those who came; what lay idle there is gone.
   */
  async lead(caches: readonly KvCache[]): Promise<BoundRows> {
    const outside = caches.filter((cache) => cache.row >= caches.length);
    const slice = new TimeSlice();
    for (let row = 0; row < caches.length && outside.length > 0; row++) {
      if (this.#owners[row]?.parked) this.#owners[row]?.dispose();
      const owner = this.#owners[row];
      if (owner && caches.includes(owner)) continue;
      const mover = outside.shift()!;
      const release = owner?.occupy();
      try {
        if (owner) await this.#swap(mover, owner, slice);
        else await this.#move(mover, row, slice);
      } finally {
        release?.();
      }
    }
    return this.#bind(0, caches.length);
  }

  /** @internal Copies tokens of a row out. */
  async read(row: number, start: number, end: number): Promise<PackedKv> {
    const tokens = end - start;
    const { past } = this.row(row);
    return this.#inTurn(async () => {
      const bytes = new Uint8Array(tokens * this.#tokenBytes);
      const slice = new TimeSlice();
      let offset = 0;
      for (const slab of this.#slabs) {
        if (slice.over) await slice.rest();
        await past[slab.input]!.readPieces(piecesOf(slab, start, tokens), bytes, offset);
        offset += slab.heads * tokens * slab.tokenBytes;
      }
      return { tokens, byteLength: bytes.byteLength, bytes, scales: this.scales?.read() };
    });
  }

  /** @internal Copies the first `tokens` of what was read into a row. */
  async write(row: number, start: number, packed: PackedKv, tokens: number): Promise<void> {
    const { past } = this.row(row);
    await this.#inTurn(async () => {
      const slice = new TimeSlice();
      let offset = 0;
      for (const slab of this.#slabs) {
        if (slice.over) await slice.rest();
        const pieces = piecesOf(slab, start, tokens);
        const step = packed.tokens * slab.tokenBytes;
        const value = past[slab.input]!;
        await value.writePieces(pieces, packed.bytes, offset, step);
        offset += slab.heads * step;
        const layer = layerOfValues(slab);
        const older = layer === undefined ? undefined : packed.scales?.[layer];
        if (older !== undefined && older !== this.scales!.at(layer!)) {
          await scalePieces(value, pieces, older / this.scales!.at(layer!), slice);
        }
      }
    });
  }

  async settle(cutOff: boolean): Promise<boolean> {
    const growths = this.scales?.grow(cutOff) ?? [];
    if (growths.length === 0) return false;
    await this.#inTurn(() => this.#rescale(growths));
    return cutOff;
  }

  /** Gives the memory back, as soon as no run uses it. Calling it again is fine. */
  dispose(): void {
    for (const owner of this.#owners) owner?.dispose();
    for (const { past } of this.#bound.values()) {
      for (const value of Object.values(past)) value.dispose();
    }
    this.#bound.clear();
    for (const { value } of this.#slabs) value.dispose();
    for (const block of this.#blocks) block.dispose();
    this.scales?.dispose();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  async #rescale(growths: readonly Growth[]): Promise<void> {
    const slice = new TimeSlice();
    for (const { layer, factor } of growths) {
      const slab = this.#slabs.find((found) => layerOfValues(found) === layer)!;
      for (const cache of this.#owners) {
        if (!cache || cache.length === 0) continue;
        const pieces = piecesOf(slab, 0, cache.length);
        await scalePieces(this.row(cache.row).past[slab.input]!, pieces, factor, slice);
      }
    }
  }

  async #inTurn<T>(copy: () => Promise<T>): Promise<T> {
    if (this.scales === undefined) return copy();
    const done = this.#lastCopy.then(copy);
    this.#lastCopy = done.catch(() => {}); // whoever asked is told
    return done;
  }

  #bind(firstRow: number, rows: number): BoundRows {
    const key = `${firstRow}+${rows}`;
    const known = this.#bound.get(key);
    if (known) return known;
    const past: Record<string, Value> = {};
    const present: Record<string, Value> = {};
    for (const { name, input, value, heads, width } of this.#slabs) {
      const first = firstRow * heads * this.capacity * width;
      const part = value.slice(first, [rows, heads, this.capacity, width]);
      past[input] = part;
      present[`present.${name}`] = part;
    }
    const bound = { past, present };
    this.#bound.set(key, bound);
    return bound;
  }

  async #move(cache: KvCache, row: number, slice: TimeSlice): Promise<void> {
    const [from, to] = [this.row(cache.row).past, this.row(row).past];
    for (const slab of this.#slabs) {
      if (slice.over) await slice.rest();
      await from[slab.input]!.copyPieces(piecesOf(slab, 0, cache.length), to[slab.input]!);
    }
    this.#owners[cache.row] = undefined;
    this.#owners[row] = cache;
    cache.row = row;
  }

  async #swap(one: KvCache, other: KvCache, slice: TimeSlice): Promise<void> {
    const [ours, theirs] = [one.bound.past, other.bound.past];
    for (const slab of this.#slabs) {
      if (slice.over) await slice.rest();
      const pieces = piecesOf(slab, 0, other.length);
      const aside = new Uint8Array(pieces.count * pieces.byteLength);
      await theirs[slab.input]!.readPieces(pieces, aside);
      await ours[slab.input]!.copyPieces(piecesOf(slab, 0, one.length), theirs[slab.input]!);
      await ours[slab.input]!.writePieces(pieces, aside);
    }
    const { row } = one;
    this.#owners[row] = other;
    this.#owners[other.row] = one;
    one.row = other.row;
    other.row = row;
  }
}

function expectCount(name: string, value: number): void {
  if (Number.isSafeInteger(value) && value >= 1) return;
  throw new RangeError(`Expected \`${name}\` to be an integer >= 1, got \`${value}\``);
}
