// A tensor as ONNX Runtime sees it: element type, sizes and memory. The memory is a typed array of JavaScript, or
// belongs to the runtime on whatever device that computes. It knows nothing of sessions or graphs.

import { DisposedError } from "../errors.ts";
import {
  ELEMENTS,
  type ElementType,
  elementCount,
  shapeText,
  type TensorData,
  tensorBytes,
  typeOf,
} from "./element-type.ts";
import { copyPieces, type Pieces, type Place, placeIn } from "./memory-pieces.ts";
import { addresses, type Handle, loadOrt, type OffHeapView, offHeap } from "./ort.ts";

export type { ElementType, TensorData } from "./element-type.ts";
export {
  elementBytes,
  elementCode,
  elementCount,
  elementTypeOf,
  shapeText,
  tensorBytes,
  typedArray,
} from "./element-type.ts";
export type { Pieces } from "./memory-pieces.ts";

/** Whose memory a value lies in, in ONNX Runtime's words, such as "Cpu" or "Cuda". */
export interface MemoryLocation {
  readonly name: string;
  readonly index: number;
}

const CPU: MemoryLocation = { name: "Cpu", index: 0 };

/** What keeps the memory of a value alive, and what happens when it ends. */
interface Backing {
  readonly location: MemoryLocation;
  /** Kept referenced as long as the native tensor points into it. */
  readonly owner: OffHeapView | Value | undefined;
  readonly onFree: (() => void) | undefined;
  /** How the native tensor is released, where that touches a device. */
  readonly release?: (handle: Handle) => void;
}

/** A native tensor. `dispose` it; a run that uses it at that moment ends first. */
export class Value {
  readonly type: ElementType;
  readonly dims: readonly number[];
  readonly byteLength: number;
  readonly location: MemoryLocation;
  #handle: Handle;
  #backing: Backing | undefined;
  #users = 0;
  #disposed = false;
  /** Where the memory lies, once pieces were copied; gone before the memory is. */
  #address: Handle | undefined;

  private constructor(
    type: ElementType,
    dims: readonly number[],
    handle: Handle,
    backing: Backing,
  ) {
    this.type = type;
    this.dims = dims;
    this.byteLength = elementCount(dims) * ELEMENTS[type].bytes;
    this.location = backing.location;
    this.#handle = handle;
    this.#backing = backing;
  }

  /**
   * A tensor whose memory is the given array: runs read and write it in place, nothing is copied.
   *
   * @throws RangeError when the sizes do not fit the array.
   */
  static of(data: TensorData, dims: readonly number[]): Value {
    const type = typeOf(data);
    if (elementCount(dims) !== data.length) {
      throw new RangeError(
        `Expected ${elementCount(dims)} elements for shape ${shapeText(dims)}, got ${data.length}`,
      );
    }
    const array = offHeap(data);
    const handle = tensorAt(loadOrt().address(array), type, dims, CPU);
    return new Value(type, dims, handle, { location: CPU, owner: array, onFree: undefined });
  }

  /**
   * A tensor in memory of the runtime; its contents are whatever was there.
   *
   * @internal Use `Session.allocate`.
   */
  static allocate(
    allocator: Handle,
    location: MemoryLocation,
    type: ElementType,
    dims: readonly number[],
    onFree: (value: Value) => void,
  ): Value {
    const shape = offHeap(BigInt64Array.from(dims, BigInt));
    const { code } = ELEMENTS[type];
    const handle = loadOrt().create("CreateTensorAsOrtValue", allocator, shape, shape.length, code);
    const value: Value = new Value(type, dims, handle, {
      location,
      owner: undefined,
      onFree: () => onFree(value),
    });
    return value;
  }

  /**
   * A tensor at an address on a device, or one that a device has made.
   *
   * @internal Use `Session.allocateOnDevice`.
   */
  static onDevice(
    place: Handle | { readonly made: Handle },
    location: MemoryLocation,
    type: ElementType,
    dims: readonly number[],
    ends: { readonly release?: (handle: Handle) => void; readonly onFree?: () => void },
  ): Value {
    const handle = typeof place === "bigint" ? tensorAt(place, type, dims, location) : place.made;
    const backing = { location, owner: undefined, onFree: undefined, ...ends };
    return new Value(type, dims, handle, backing);
  }

  get disposed(): boolean {
    return this.#disposed;
  }

  /**
   * Where the memory lies; valid as long as the value is not disposed.
   *
   * @internal
   */
  get address(): Handle {
    const handle = this.acquire();
    try {
      return loadOrt().create("GetTensorMutableData", handle);
    } finally {
      this.giveBack();
    }
  }

  /**
   * A tensor over a part of this one's memory, from element `first` on. It keeps the memory alive by itself.
   *
   * @throws RangeError when the part does not lie inside; TypeError where memory has handles and no addresses (WebGPU),
   *   unless the part begins where the memory does.
   */
  slice(first: number, dims: readonly number[]): Value {
    const { bytes } = ELEMENTS[this.type];
    const end = (first + elementCount(dims)) * bytes;
    if (!Number.isSafeInteger(first) || first < 0 || end > this.byteLength) {
      throw new RangeError(
        `Expected a part of the ${this.byteLength / bytes} elements of the value, ` +
          `got ${shapeText(dims)} from element ${first}`,
      );
    }
    return this.#part(first * bytes, this.type, dims);
  }

  /** A tensor from byte `first` on, which keeps the memory alive. */
  #part(first: number, type: ElementType, dims: readonly number[]): Value {
    if (first !== 0 && this.location.name.startsWith("WebGPU")) {
      throw new TypeError(
        `Memory of "${this.location.name}" has no parts but its beginning: allocate each by itself`,
      );
    }
    const base = loadOrt().create("GetTensorMutableData", this.acquire());
    try {
      const handle = tensorAt(base + BigInt(first), type, dims, this.location);
      return new Value(type, dims, handle, {
        location: this.location,
        owner: this,
        onFree: () => this.giveBack(),
      });
    } catch (error) {
      this.giveBack();
      throw error;
    }
  }

  /**
   * A tensor of another type over a part of this one's memory, from byte `first` on.
   *
   * @throws RangeError when the part does not lie inside.
   */
  view(first: number, type: ElementType, dims: readonly number[]): Value {
    const end = first + tensorBytes(type, dims);
    if (!Number.isSafeInteger(first) || first < 0 || end > this.byteLength) {
      throw new RangeError(`Expected a part of ${this.byteLength} bytes, got ${first} to ${end}`);
    }
    return this.#part(first, type, dims);
  }

  /** A copy of the contents. Only for memory that the CPU can read. */
  read(): TensorData {
    if (this.location.name !== "Cpu") {
      throw new TypeError(`Memory of "${this.location.name}" cannot be read without a run`);
    }
    const handle = this.acquire();
    try {
      return new ELEMENTS[this.type].array(memoryOf(handle, this.byteLength).slice().buffer);
    } finally {
      this.giveBack();
    }
  }

  /**
   * Copies pieces, one after the other, into `target` from byte `offset` on.
   *
   * @throws RangeError when a piece leaves the value or the target.
   */
  async readPieces(pieces: Pieces, target: Uint8Array, offset = 0): Promise<void> {
    const to = placeIn(target, offset, pieces.byteLength, pieces);
    copyPieces(pieces, to, this.#placeOf(pieces));
  }

  /**
   * Fills pieces from `source`.
   *
   * @param step bytes from the beginning of one piece in `source` to that of the next: by default they follow one another
   * @throws RangeError when a piece leaves the value or the source.
   */
  async writePieces(
    pieces: Pieces,
    source: Uint8Array,
    offset = 0,
    step = pieces.byteLength,
  ): Promise<void> {
    const from = placeIn(source, offset, step, pieces);
    copyPieces(pieces, this.#placeOf(pieces), from);
  }

  /** Copies pieces to another value. @param places where they go, at the same places and distances by default */
  async copyPieces(
    pieces: Pieces,
    target: Value,
    places: Pick<Pieces, "first" | "stride"> = pieces,
  ): Promise<void> {
    const { first, stride } = places;
    copyPieces(pieces, target.#placeOf({ ...pieces, first, stride }), this.#placeOf(pieces));
  }

  /**
   * The native tensor, kept alive until {@link giveBack}.
   *
   * @internal
   */
  acquire(): Handle {
    if (this.#disposed) throw new DisposedError("The value");
    this.#users++;
    return this.#handle;
  }

  /** @internal */
  giveBack(): void {
    this.#users--;
    this.#freeIfUnused();
  }

  /** Ends the life of the value. Calling it again is fine. */
  dispose(): void {
    this.#disposed = true;
    this.#freeIfUnused();
  }

  [Symbol.dispose](): void {
    this.dispose();
  }

  /** Where the first of the pieces lies, after a look at whether all of them lie inside. */
  #placeOf({ first, stride, count, byteLength }: Pieces): Place {
    const end = first + Math.max(count - 1, 0) * stride + byteLength;
    if (first < 0 || end > this.byteLength) {
      throw new RangeError(`Expected pieces of ${this.byteLength} bytes, got ${first} to ${end}`);
    }
    if (this.location.name !== "Cpu") {
      throw new TypeError(`Memory of "${this.location.name}" cannot be copied without a run`);
    }
    if (this.#disposed) throw new DisposedError("The value");
    this.#address ??= loadOrt().create("GetTensorMutableData", this.#handle);
    return { address: this.#address + BigInt(first), stride };
  }

  #freeIfUnused(): void {
    if (!this.#disposed || this.#users > 0 || !this.#backing) return;
    const { onFree, release } = this.#backing;
    this.#backing = undefined;
    this.#address = undefined;
    if (release) release(this.#handle);
    else loadOrt().release("ReleaseValue", this.#handle);
    onFree?.();
  }
}

/** A view of a tensor in the CPU's memory, of no use once the tensor is released. */
function memoryOf(handle: Handle, byteLength: number): Uint8Array {
  const ort = loadOrt();
  return new Uint8Array(ort.memory(ort.create("GetTensorMutableData", handle), byteLength));
}

function tensorAt(
  address: Handle,
  type: ElementType,
  dims: readonly number[],
  location: MemoryLocation,
): Handle {
  const shape = offHeap(BigInt64Array.from(dims, BigInt));
  const { code, bytes } = ELEMENTS[type];
  return loadOrt().create(
    "CreateTensorWithDataAsOrtValue",
    memoryInfo(location),
    address,
    elementCount(dims) * bytes,
    shape,
    shape.length,
    code,
  );
}

const memoryInfos = new Map<string, Handle>();

/** ONNX Runtime's description of a memory; a handful per process, never released. */
export function memoryInfo({ name, index }: MemoryLocation): Handle {
  const key = `${name}:${index}`;
  let info = memoryInfos.get(key);
  if (info === undefined) {
    const out = addresses(1);
    loadOrt().call("CreateMemoryInfo", name, DEVICE_ALLOCATOR, index, DEFAULT_MEMORY, out);
    info = out[0]!;
    memoryInfos.set(key, info);
  }
  return info;
}

const DEVICE_ALLOCATOR = 0;
const DEFAULT_MEMORY = 0;
