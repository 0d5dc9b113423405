// Keys and values of several sequences on WebGPU, whose buffers cannot be cut into parts: a run of several tokens needs a
// sequence that begins where its buffer does, a run of several sequences needs them all in one. So there are a slab with
// a row for each slot, whose leading rows are a batch, and a desk where one sequence lies by itself: whoever reads a
// prompt, or answers alone. Moving from one to the other is a copy on the device, once a turn and not once a token.

import type { Value } from "../runtime/value.ts";
import type { BoundLanes, BoundRows, LanePool } from "./lane-slots.ts";
import { WebGpuBlock } from "./webgpu-block.ts";
import type { KvTables, WebGpuKvCopies } from "./webgpu-kv-copies.ts";
import { WebGpuSlot } from "./webgpu-slot.ts";

/** Where rows of one size lie together. */
interface Room {
  readonly tables: KvTables;
  /** By how many of the leading rows. */
  readonly bound: Map<number, BoundRows>;
}

/** Slots of a decoder on WebGPU. They own the copies. */
export class WebGpuSlots implements LanePool {
  readonly count: number;
  readonly capacity: number;
  readonly byteLength: number;
  readonly #copies: WebGpuKvCopies;
  readonly #desk: Room;
  /** The desk, where there is one slot only. */
  readonly #slab: Room;
  readonly #owners: (WebGpuSlot | undefined)[];
  #atDesk: WebGpuSlot | undefined;

  private constructor(
    copies: WebGpuKvCopies,
    desk: KvTables,
    slab: KvTables,
    count: number,
    capacity: number,
  ) {
    this.#copies = copies;
    this.#desk = { tables: desk, bound: new Map() };
    this.#slab = slab === desk ? this.#desk : { tables: slab, bound: new Map() };
    this.count = count;
    this.capacity = capacity;
    this.#owners = Array.from({ length: count }, () => undefined);
    this.byteLength = this.values.reduce((sum, value) => sum + value.byteLength, 0);
  }

  /** Sequences for which there is memory when there are so many slots: that of the desk as well. */
  static rows(count: number): number {
    return count === 1 ? 1 : count + 1;
  }

  /**
   * Reserves the memory. One token more than the capacity has room, so that a full row can compute along.
   *
   * @throws DeviceError `device-memory`
   */
  static async create(
    copies: WebGpuKvCopies,
    count: number,
    capacity: number,
  ): Promise<WebGpuSlots> {
    const { heads } = copies.parts[0]!;
    if (copies.parts.some((part) => part.heads !== heads)) {
      throw new TypeError("Expected as many heads in every layer");
    }
    const rowLength = heads * (capacity + 1);
    const what = `keys and values of ${count} contexts`;
    const desk = await copies.allocate(rowLength, what);
    if (count === 1) return new WebGpuSlots(copies, desk, desk, count, capacity);
    try {
      const slab = await copies.allocate(count * rowLength, what);
      return new WebGpuSlots(copies, desk, slab, count, capacity);
    } catch (error) {
      for (const table of desk) table.dispose();
      throw error;
    }
  }

  /** All memory that was taken. */
  get values(): readonly Value[] {
    return [...new Set([...this.#desk.tables, ...this.#slab.tables])];
  }

  /** The free row that comes first: fewer rows compute along. */
  open(): WebGpuSlot {
    const row = this.#owners.indexOf(undefined);
    if (row === -1) throw new RangeError(`All ${this.count} slots are taken`);
    const slot = new WebGpuSlot(this, row);
    this.#owners[row] = slot;
    return slot;
  }

  /** @internal */
  close(slot: WebGpuSlot): void {
    this.#owners[slot.row] = undefined;
    if (this.#atDesk === slot) this.#atDesk = undefined;
  }

  /** @internal */
  isAtDesk(slot: WebGpuSlot): boolean {
    return this.#atDesk === slot;
  }

  async bindOne(slot: WebGpuSlot): Promise<BoundRows> {
    await this.#sit(slot);
    return this.#bind(this.#desk, 1);
  }

  /** One alone goes to the desk unless somebody reads there. Several are in the leading rows, and others compute along. */
  async bindLanes(slots: readonly WebGpuSlot[]): Promise<BoundLanes> {
    const [first] = slots as [WebGpuSlot];
    if (slots.length === 1 && this.#mayTakeDesk(first)) {
      return { ...(await this.bindOne(first)), lanes: [0], lengths: [first.length] };
    }
    if (this.#atDesk && slots.includes(this.#atDesk)) await this.#settle(this.#atDesk);
    const count = Math.max(...slots.map(({ row }) => row)) + 1;
    for (const owner of this.#owners.slice(0, count)) {
      // What lies idle would be read along with every token: it is in the prefix cache as well.
      if (owner?.parked && !slots.includes(owner)) owner.dispose();
    }
    const lengths = this.#owners.slice(0, count).map((owner) => owner?.settled ?? 0);
    return { ...this.#bind(this.#slab, count), lanes: slots.map(({ row }) => row), lengths };
  }

  /** @internal Copies tokens out. */
  async read(slot: WebGpuSlot, start: number, end: number): Promise<WebGpuBlock> {
    const { tables, row } = this.#placeOf(slot);
    const taken = await this.#copies.take(tables, this.#rowsOf(row, start, end - start));
    return new WebGpuBlock(this.#copies, taken, end - start);
  }

  /** @internal Copies the first tokens of a block to where the slot's next ones lie. */
  async write(slot: WebGpuSlot, block: WebGpuBlock, tokens: number): Promise<void> {
    // Nothing has to be moved for it, and the rest of its prompt is read there.
    if (slot.length === 0 && this.#mayTakeDesk(slot)) await this.#sit(slot);
    const { tables, row } = this.#placeOf(slot);
    const places = this.#rowsOf(row, slot.length, tokens);
    await this.#copies.move(block.tables, block.rowsOf(tokens), tables, places);
  }

  /** Gives the memory back. Calling it again is fine. */
  async dispose(): Promise<void> {
    for (const owner of this.#owners) owner?.dispose();
    for (const { bound } of [this.#desk, this.#slab]) {
      for (const { past } of bound.values()) {
        for (const value of Object.values(past)) value.dispose();
      }
      bound.clear();
    }
    for (const value of this.values) value.dispose();
    await this.#copies.dispose();
  }

  #mayTakeDesk(slot: WebGpuSlot): boolean {
    return this.#atDesk === undefined || this.#atDesk === slot || this.#atDesk.parked;
  }

  /** Brings a sequence to the desk. */
  async #sit(slot: WebGpuSlot): Promise<void> {
    if (this.#atDesk === slot) return;
    if (this.#atDesk) await this.#sendAway(this.#atDesk);
    if (slot.length > 0) {
      const [rows, places] = [slot.row, 0].map((row) => this.#rowsOf(row, 0, slot.length));
      await this.#copies.move(this.#slab.tables, rows!, this.#desk.tables, places!);
    }
    this.#atDesk = slot;
  }

  /** Somebody else comes to the desk. */
  async #sendAway(slot: WebGpuSlot): Promise<void> {
    const release = slot.occupy();
    try {
      await this.#settle(slot);
    } finally {
      release();
    }
  }

  /** Brings back to its row what was computed at the desk. */
  async #settle(slot: WebGpuSlot): Promise<void> {
    const { settled, length } = slot;
    if (settled < length) {
      const [rows, places] = [0, slot.row].map((row) =>
        this.#rowsOf(row, settled, length - settled),
      );
      await this.#copies.move(this.#desk.tables, rows!, this.#slab.tables, places!);
      slot.settle();
    }
    this.#atDesk = undefined;
  }

  #placeOf(slot: WebGpuSlot): { readonly tables: KvTables; readonly row: number } {
    return this.#atDesk === slot
      ? { tables: this.#desk.tables, row: 0 }
      : { tables: this.#slab.tables, row: slot.row };
  }

  /** Rows of a table that hold tokens of a sequence: head after head. */
  #rowsOf(row: number, start: number, tokens: number): Int32Array {
    const { heads } = this.#copies.parts[0]!;
    return Int32Array.from({ length: heads * tokens }, (_, index) => {
      const head = row * heads + Math.floor(index / tokens);
      return head * (this.capacity + 1) + start + (index % tokens);
    });
  }

  #bind({ tables, bound }: Room, rows: number): BoundRows {
    const known = bound.get(rows);
    if (known) return known;
    const [past, present]: [Record<string, Value>, Record<string, Value>] = [{}, {}];
    for (const [index, { name, heads, width }] of this.#copies.parts.entries()) {
      const value = tables[index]!.slice(0, [rows, heads, this.capacity + 1, width]);
      past[`past_key_values.${name}`] = value;
      present[`present.${name}`] = value;
    }
    const made: BoundRows = { past, present };
    bound.set(rows, made);
    return made;
  }
}
