// Memory of the device that a session computes on, and copies within it and to it. On a card the copies are calls to be
// made before or after a run, in its stream; on the CPU they are done at once. In: values. Out: calls. Nothing above
// the runtime sees an address.

import { CudaDevice, type PinnedBlock } from "./cuda-device.ts";
import type { NativeCall } from "./device-thread.ts";
import { loadOrt, offHeap } from "./ort.ts";
import type { Session } from "./session.ts";
import {
  type ElementType,
  elementBytes,
  elementCount,
  type TensorData,
  typedArray,
  type Value,
} from "./value.ts";

/** Rows of equal length at equal distances in a value; all in bytes. */
export interface Rows {
  readonly value: Value;
  readonly first: number;
  readonly pitch: number;
}

/** Copies start where addresses are whole multiples of this, so that any kernel may read them. */
const ALIGNMENT = 256;

/** Whose memory it is: a session. */
export type MemoryOwner = Pick<Session, "open" | "device" | "allocateOnDevice">;

/** Memory of one session's device. */
export class DeviceMemory {
  readonly #session: MemoryOwner;
  readonly #cuda: CudaDevice | undefined;

  constructor(session: MemoryOwner) {
    this.#session = session;
    this.#cuda = session.open instanceof CudaDevice ? session.open : undefined;
    if (session.open && !this.#cuda) {
      throw new TypeError(`Memory of ${session.device} has no addresses to copy from`);
    }
  }

  allocate(type: ElementType, dims: readonly number[], what: string): Promise<Value> {
    return this.#session.allocateOnDevice(type, dims, what);
  }

  /** Several values, or none of them: where one has no room, those before it are given back. */
  async allocateAll(
    wanted: readonly { readonly type: ElementType; readonly dims: readonly number[] }[],
    what: string,
  ): Promise<Value[]> {
    const made: Value[] = [];
    try {
      for (const { type, dims } of wanted) made.push(await this.allocate(type, dims, what));
      return made;
    } catch (error) {
      for (const value of made) value.dispose();
      throw error;
    }
  }

  /** An array of the host with a twin on the device. */
  async stage(byteLength: number, what: string): Promise<Staging> {
    const block = await this.allocate("u8", [byteLength], what);
    const cuda = this.#cuda;
    if (!cuda) {
      const buffer = loadOrt().memory(block.address, byteLength);
      return new Staging(block, buffer, undefined);
    }
    try {
      const pinned = await cuda.pin(byteLength);
      return new Staging(block, pinned.buffer, { cuda, pinned });
    } catch (error) {
      block.dispose();
      throw error;
    }
  }

  /** Copies bytes from one value to another. */
  copy(target: Value, to: number, source: Value, from: number, byteLength: number): NativeCall[] {
    if (this.#cuda) {
      const [a, b] = [target.address + BigInt(to), source.address + BigInt(from)];
      return [this.#cuda.copies.onDevice(a, b, byteLength)];
    }
    hostBytes(target).set(hostBytes(source).subarray(from, from + byteLength), to);
    return [];
  }

  /** Copies `count` rows of `width` bytes. */
  copyRows(target: Rows, source: Rows, width: number, count: number): NativeCall[] {
    if (this.#cuda) {
      const place = ({ value, first, pitch }: Rows) => ({
        address: value.address + BigInt(first),
        pitch,
      });
      return [this.#cuda.copies.rows(place(target), place(source), width, count)];
    }
    const [to, from] = [hostBytes(target.value), hostBytes(source.value)];
    for (let row = 0; row < count; row++) {
      const start = source.first + row * source.pitch;
      to.set(from.subarray(start, start + width), target.first + row * target.pitch);
    }
    return [];
  }

  /** Fills bytes with zeros. */
  clear(target: Value, from = 0, byteLength: number = target.byteLength - from): NativeCall[] {
    if (this.#cuda) {
      return [this.#cuda.copies.fill(target.address + BigInt(from), 0, byteLength)];
    }
    hostBytes(target).fill(0, from, from + byteLength);
    return [];
  }

  /** Copies an array of the host into a value, from byte `to` on. It must stay unchanged until the call was made. */
  upload(target: Value, source: TensorData, to = 0): NativeCall[] {
    if (this.#cuda) {
      const address = target.address + BigInt(to);
      return [this.#cuda.copies.toDevice(address, offHeap(source), source.byteLength)];
    }
    const bytes = new Uint8Array(source.buffer, source.byteOffset, source.byteLength);
    hostBytes(target).set(bytes, to);
    return [];
  }

  /** The bytes of a value, in the memory of the host. */
  async fetch(source: Value): Promise<Uint8Array<ArrayBuffer>> {
    const { byteLength } = source;
    if (!this.#cuda) return hostBytes(source).slice();
    const bytes = offHeap(new Uint8Array(byteLength));
    await this.finish([this.#cuda.copies.fromDevice(bytes, source.address, byteLength)]);
    return bytes;
  }

  /** Makes calls that belong to no run, and waits for them. */
  async finish(calls: readonly NativeCall[]): Promise<void> {
    if (this.#cuda) await this.#cuda.call([...calls, this.#cuda.synchronize()]);
  }
}

interface PinnedOwner {
  readonly cuda: CudaDevice;
  readonly pinned: PinnedBlock;
}

/** Small arrays that a run reads or writes, packed together: one copy over the bus for all of them. */
export class Staging {
  readonly #block: Value;
  readonly #buffer: ArrayBuffer;
  readonly #owner: PinnedOwner | undefined;
  #used = 0;
  readonly #values: Value[] = [];

  /** @internal Use `DeviceMemory.stage`. */
  constructor(block: Value, buffer: ArrayBuffer, owner: PinnedOwner | undefined) {
    this.#block = block;
    this.#buffer = buffer;
    this.#owner = owner;
  }

  /** Bytes that a tensor takes in here. */
  static bytes(type: ElementType, dims: readonly number[]): number {
    return Math.ceil((elementCount(dims) * elementBytes(type)) / ALIGNMENT) * ALIGNMENT;
  }

  /** The next tensor: its array of the host, and the value that a run is given. */
  take<T extends ElementType>(type: T, dims: readonly number[]) {
    const first = this.#used;
    this.#used += Staging.bytes(type, dims);
    if (this.#used > this.#block.byteLength) throw new RangeError("The staging memory is full");
    const array = typedArray(type, this.#buffer, first, elementCount(dims));
    const value = this.#block.view(first, type, dims);
    this.#values.push(value);
    return { array, value };
  }

  /** Forgets what was taken before, and takes again from the beginning. The caller disposes the value. */
  retake<T extends ElementType>(type: T, dims: readonly number[]) {
    this.#used = 0;
    const taken = this.take(type, dims);
    this.#values.length = 0;
    return taken;
  }

  /** To the device: everything that was taken. */
  upload(): NativeCall[] {
    if (!this.#owner) return [];
    const { cuda, pinned } = this.#owner;
    return [cuda.copies.toDevice(this.#block.address, pinned.address, this.#used)];
  }

  /** From the device, and waits for all before. */
  download(): NativeCall[] {
    if (!this.#owner) return [];
    const { cuda, pinned } = this.#owner;
    return [
      cuda.copies.fromDevice(pinned.address, this.#block.address, this.#used),
      cuda.synchronize(),
    ];
  }

  dispose(): void {
    for (const value of this.#values) value.dispose();
    this.#block.dispose();
    this.#owner?.cuda.unpin(this.#owner.pinned).catch(() => {});
  }
}

/** The bytes of a value in memory that the CPU can read. */
function hostBytes(value: Value): Uint8Array {
  return new Uint8Array(loadOrt().memory(value.address, value.byteLength));
}
