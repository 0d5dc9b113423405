// Keys and values of several sequences on a graphics card: for every layer and part one slab, (slots, kv heads, capacity,
// head size). A row is a sequence and never moves: rows of a batch that have nothing to say compute along, and what they
// write lies beyond their length, where it is of no meaning. Blocks that are copied out stay on the card.

import { TimeSlice } from "../event-loop/time-slice.ts";
import type { DeviceMemory } from "../runtime/device-memory.ts";
import type { NamedValues } from "../runtime/session.ts";
import { elementBytes, type Value } from "../runtime/value.ts";
import type { KvBlock, KvSlot, SlotPool } from "./decoder-backend.ts";
import type { KvPart } from "./kv-slabs.ts";
import { expectCut, SlotUse } from "./slot-use.ts";

/** Part after part, head after head, the tokens one after the other. */
export interface DeviceKvBlock extends KvBlock {
  /** On the device, or in the memory of the host. */
  readonly value: Value | Uint8Array;
}

interface Slab extends KvPart {
  /** (slots, heads, capacity, width) */
  readonly value: Value;
  readonly tokenBytes: number;
}

/** Slots of a decoder on a device. */
export class DeviceSlots implements SlotPool {
  readonly count: number;
  readonly capacity: number;
  readonly byteLength: number;
  readonly memory: DeviceMemory;
  /** Tokens of each row that has a slot; 0 for the others. */
  readonly lengths: number[];
  readonly #slabs: readonly Slab[];
  readonly #owners: (DeviceSlot | undefined)[];
  readonly #bound = new Map<string, { past: NamedValues; present: NamedValues }>();

  private constructor(
    memory: DeviceMemory,
    slabs: readonly Slab[],
    count: number,
    capacity: number,
  ) {
    this.memory = memory;
    this.#slabs = slabs;
    this.count = count;
    this.capacity = capacity;
    this.lengths = Array.from({ length: count }, () => 0);
    this.#owners = Array.from({ length: count }, () => undefined);
    this.byteLength = slabs.reduce((sum, { value }) => sum + value.byteLength, 0);
  }

  /**
   * Reserves the memory. One token more than the capacity has room, so that a full row can compute along.
   *
   * @throws DeviceError `device-memory`
   */
  static async create(
    memory: DeviceMemory,
    parts: readonly KvPart[],
    count: number,
    capacity: number,
  ): Promise<DeviceSlots> {
    const wanted = parts.map(({ type, heads, width }) => ({
      type,
      dims: [count, heads, capacity + 1, width],
    }));
    const values = await memory.allocateAll(wanted, "keys and values");
    try {
      // What was there before may be no numbers, and nothing times no number is none either.
      await memory.finish(values.flatMap((value) => memory.clear(value)));
    } catch (error) {
      for (const value of values) value.dispose();
      throw error;
    }
    const slabs = parts.map((part, index) => ({
      ...part,
      value: values[index]!,
      tokenBytes: part.width * elementBytes(part.type),
    }));
    return new DeviceSlots(memory, slabs, count, capacity);
  }

  /** Keys or values of one layer for all rows, such as "0.key": (slots, heads, capacity + 1, width). */
  slab(name: string): Value {
    const slab = this.#slabs.find((candidate) => candidate.name === name);
    if (!slab) throw new RangeError(`There are no keys or values \`${name}\``);
    return slab.value;
  }

  /** The free row that comes first: fewer rows compute along. */
  open(): DeviceSlot {
    const row = this.#owners.indexOf(undefined);
    if (row === -1) throw new RangeError(`All ${this.count} slots are taken`);
    const slot = new DeviceSlot(this, row);
    this.#owners[row] = slot;
    this.lengths[row] = 0;
    return slot;
  }

  /** @internal */
  close({ row }: DeviceSlot): void {
    this.#owners[row] = undefined;
    this.lengths[row] = 0;
  }

  /** Some rows, to be bound by a run. Made in slices of time: there are a hundred values, once for each choice of rows. */
  async bind(
    first: number,
    rows: number,
  ): Promise<{ readonly past: NamedValues; readonly present: NamedValues }> {
    const key = `${first}+${rows}`;
    const known = this.#bound.get(key);
    if (known) return known;
    const past: Record<string, Value> = {};
    const present: Record<string, Value> = {};
    const slice = new TimeSlice();
    for (const { name, heads, width, value } of this.#slabs) {
      if (slice.over) await slice.rest();
      const dims = [rows, heads, this.capacity + 1, width];
      const part = value.slice(first * heads * (this.capacity + 1) * width, dims);
      past[`past_key_values.${name}`] = part;
      present[`present.${name}`] = part;
    }
    const bound = { past, present };
    this.#bound.set(key, bound);
    return bound;
  }

  /** @internal */
  async read(row: number, start: number, end: number): Promise<DeviceKvBlock> {
    const tokens = end - start;
    const byteLength = tokens * this.#slabs.reduce((sum, part) => sum + bytesOfToken(part), 0);
    const value = await this.memory.allocate("u8", [byteLength], "kept keys and values");
    const calls = this.#copies(row, start, tokens, { value, tokens }, false);
    await this.memory.finish(calls).catch((error: unknown) => {
      value.dispose();
      throw error;
    });
    const toHost = async () => ({ tokens, byteLength, value: await this.memory.fetch(value) });
    return { tokens, byteLength, value, toHost, dispose: () => value.dispose() };
  }

  /** @internal */
  async write(row: number, start: number, block: DeviceKvBlock, tokens: number): Promise<void> {
    const { value, byteLength } = block;
    if (!(value instanceof Uint8Array)) {
      const packed = { value, tokens: block.tokens };
      await this.memory.finish(this.#copies(row, start, tokens, packed, true));
      return;
    }
    using there = await this.memory.allocate("u8", [byteLength], "kept keys and values");
    const packed = { value: there, tokens: block.tokens };
    const calls = this.memory.upload(there, value);
    await this.memory.finish([...calls, ...this.#copies(row, start, tokens, packed, true)]);
  }

  /**
   * Makes a row zeros: what is behind the length of a row is read by kernels too, multiplied by nothing, and nothing times no
   * number is none. Comes before whatever is computed later.
   *
   * @internal
   */
  clear(row: number): void {
    const calls = this.#slabs.flatMap(({ value, heads, tokenBytes }) => {
      const rowBytes = heads * (this.capacity + 1) * tokenBytes;
      return this.memory.clear(value, row * rowBytes, rowBytes);
    });
    this.memory.finish(calls).catch(() => {}); // Only a lost card cannot, and nobody computes there.
  }

  /** Gives the memory back. Calling it again is fine. */
  dispose(): void {
    for (const owner of this.#owners) owner?.dispose();
    for (const { past } of this.#bound.values()) {
      for (const value of Object.values(past)) value.dispose();
    }
    this.#bound.clear();
    for (const { value } of this.#slabs) value.dispose();
  }

  #copies(
    row: number,
    start: number,
    tokens: number,
    block: { readonly value: Value; readonly tokens: number },
    into: boolean,
  ) {
    let offset = 0;
    return this.#slabs.flatMap((slab) => {
      const { tokenBytes, heads, value } = slab;
      const pitch = (this.capacity + 1) * tokenBytes;
      const lying = { value, first: row * heads * pitch + start * tokenBytes, pitch };
      const packed = { value: block.value, first: offset, pitch: block.tokens * tokenBytes };
      offset += block.tokens * bytesOfToken(slab);
      const [target, source] = into ? [lying, packed] : [packed, lying];
      return this.memory.copyRows(target, source, tokens * tokenBytes, heads);
    });
  }
}

function bytesOfToken({ heads, tokenBytes }: Slab): number {
  return heads * tokenBytes;
}

/** The place of one sequence. One run at a time. */
export class DeviceSlot implements KvSlot {
  readonly slots: DeviceSlots;
  readonly row: number;
  readonly #use = new SlotUse("The KV slot");

  /** @internal Use `DeviceSlots.open`. */
  constructor(slots: DeviceSlots, row: number) {
    this.slots = slots;
    this.row = row;
  }

  get capacity(): number {
    return this.slots.capacity;
  }

  get disposed(): boolean {
    return this.#use.ended;
  }

  get length(): number {
    return this.#use.ended ? 0 : this.slots.lengths[this.row]!;
  }

  truncate(length: number): void {
    expectCut(length, this.length);
    this.#use.expectIdle();
    this.slots.lengths[this.row] = length;
  }

  async read(start: number, end: number): Promise<DeviceKvBlock> {
    if (start < 0 || start >= end || end > this.length) {
      throw new RangeError(`Expected a part of ${this.length} tokens, got ${start} to ${end}`);
    }
    const release = this.occupy(0);
    try {
      return await this.slots.read(this.row, start, end);
    } finally {
      release();
    }
  }

  async append(block: DeviceKvBlock, tokens: number): Promise<void> {
    if (tokens > block.tokens) {
      throw new RangeError(`Expected at most ${block.tokens} tokens, got ${tokens}`);
    }
    const release = this.occupy(tokens);
    try {
      await this.slots.write(this.row, this.length, block, tokens);
      this.grow(tokens);
    } finally {
      release();
    }
  }

  /**
   * Keeps others out until it is released.
   *
   * @internal
   * @throws RangeError when so many more tokens do not fit
   */
  occupy(tokens: number): () => void {
    this.#use.expectOpen();
    if (this.length + tokens > this.capacity) {
      throw new RangeError(
        `The KV slot holds ${this.length} of ${this.capacity} tokens: ${tokens} more do not fit`,
      );
    }
    return this.#use.occupy();
  }

  /** @internal Counts tokens that were appended. */
  grow(tokens: number): void {
    if (!this.#use.ended) this.slots.lengths[this.row]! += tokens;
  }

  spoil(): void {
    if (this.#use.ended) return;
    this.slots.clear(this.row);
    this.dispose();
  }

  dispose(): void {
    if (this.#use.end()) this.slots.close(this);
  }

  [Symbol.dispose](): void {
    this.dispose();
  }
}
