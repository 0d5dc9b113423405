// One CUDA card: its thread, its stream, its memory and the copies to and from it. In: sizes and arrays. Out: blocks
// of memory, and calls to put between runs. Nothing above the runtime sees an address of it.

import { sharedController } from "../../abort.ts";
import { DeviceError } from "../errors.ts";
import { compileKernels, type KernelSource } from "./cuda-compiler.ts";
import { type CudaFacts, type CudaNative, climbCuda, type RungListener } from "./cuda-ladder.ts";
import type { NativeCall, NativeResult } from "./device-thread.ts";
import { addresses, type Handle, type OffHeapView } from "./ort.ts";
import type { Parameter } from "./ort-functions.ts";

/** Part of the free memory that is used when nobody says how much. */
const DEFAULT_SHARE = 0.9;
const OUT_OF_MEMORY = 2;
const TO_DEVICE = 1;
const FROM_DEVICE = 2;
const ON_DEVICE = 3;
/** A stream that does not wait for the default one. */
const NON_BLOCKING = 1;

/** A piece of the card's memory. */
export interface CudaBlock {
  readonly address: Handle;
  readonly byteLength: number;
}

/** Memory of the host that the card reads and writes by itself. */
export interface PinnedBlock {
  readonly address: Handle;
  readonly buffer: ArrayBuffer;
}

/** Rows of equal length at equal distances. */
export interface CopyPlace {
  readonly address: Handle;
  /** From the beginning of a row to that of the next, in bytes. */
  readonly pitch: number;
}

/** A card that can be used. One per card and process. */
export class CudaDevice {
  readonly index: number;
  readonly facts: CudaFacts;
  readonly thread: CudaNative["thread"];
  /** All runs and copies are in this stream, one after the other. */
  readonly stream: Handle;
  /** Bytes that went over the bus since the process began. */
  readonly traffic = { toDevice: 0, fromDevice: 0 };
  readonly #ort: CudaNative["ort"];
  #limit = Number.POSITIVE_INFINITY;
  #used = 0;
  readonly #loss = sharedController();
  /** Sessions that live on it. */
  readonly sessions = new Set<Handle>();

  private constructor(index: number, facts: CudaFacts, native: CudaNative, stream: Handle) {
    this.index = index;
    this.facts = facts;
    this.thread = native.thread;
    this.#ort = native.ort;
    this.stream = stream;
  }

  /** @throws ModelLoadError `device-unavailable`, naming the rung that failed and what to install */
  static async open(index: number, native: CudaNative, told?: RungListener): Promise<CudaDevice> {
    const facts = await climbCuda(index, native, told);
    const stream = addresses(1);
    const device = new CudaDevice(index, facts, native, 0n);
    await device.call([
      device.#describe("cudaSetDevice", ["int"], [index]),
      device.#describe("cudaStreamCreateWithFlags", ["address", "int"], [stream, NON_BLOCKING]),
    ]);
    const opened = new CudaDevice(index, facts, native, stream[0]!);
    await opened.limitToFree();
    return opened;
  }

  /** Aborts when the card is lost, with the error that says so. */
  get loss(): AbortSignal {
    return this.#loss.signal;
  }

  /** Bytes that are in use, or reserved. */
  get used(): number {
    return this.#used;
  }

  /** Bytes that {@link allocate} may still give away. */
  get remaining(): number {
    return this.#limit - this.#used;
  }

  /** Sets how many bytes may be in use, weights included. */
  limitMemory(bytes: number): void {
    this.#limit = bytes;
  }

  /** Lets be used what is used already, and nine tenths of what is free. */
  async limitToFree(): Promise<void> {
    const { free } = await this.memory();
    this.limitMemory(this.#used + Math.floor(free * DEFAULT_SHARE));
  }

  /** Is there so much left? @throws DeviceError `device-memory` */
  expectRoom(byteLength: number, what: string): void {
    if (byteLength > this.remaining) throw this.#outOfMemory(byteLength, what);
  }

  /** Counts memory that ONNX Runtime takes by itself, such as weights. @throws DeviceError `device-memory` */
  reserve(byteLength: number, what: string): void {
    this.expectRoom(byteLength, what);
    this.#used += byteLength;
  }

  /** Takes back what {@link reserve} counted. */
  unreserve(byteLength: number): void {
    this.#used -= byteLength;
  }

  /** Free and whole memory of the card, in bytes. */
  async memory(): Promise<{ readonly free: number; readonly total: number }> {
    const [free, total] = [addresses(1), addresses(1)];
    await this.call([this.#describe("cudaMemGetInfo", ["address", "address"], [free, total])]);
    return { free: Number(free[0]), total: Number(total[0]) };
  }

  /** @throws DeviceError `device-memory` when it does not fit, by the limit or by the card */
  async allocate(byteLength: number, what: string): Promise<CudaBlock> {
    this.reserve(byteLength, what);
    const address = addresses(1);
    try {
      await this.call([this.#describe("cudaMalloc", ["address", "size"], [address, byteLength])]);
    } catch (error) {
      this.unreserve(byteLength);
      if (!(error instanceof DeviceError) || error.code !== "device-memory") throw error;
      throw this.#outOfMemory(byteLength, what);
    }
    return { address: address[0]!, byteLength };
  }

  async free({ address, byteLength }: CudaBlock): Promise<void> {
    this.unreserve(byteLength);
    await this.call([this.#describe("cudaFree", ["address"], [address])]);
  }

  async pin(byteLength: number): Promise<PinnedBlock> {
    const address = addresses(1);
    await this.call([this.#describe("cudaMallocHost", ["address", "size"], [address, byteLength])]);
    return { address: address[0]!, buffer: this.#ort.memory(address[0]!, byteLength) };
  }

  async unpin({ address }: PinnedBlock): Promise<void> {
    await this.call([this.#describe("cudaFreeHost", ["address"], [address])]);
  }

  copyToDevice(target: Handle, source: Handle | OffHeapView, byteLength: number): NativeCall {
    this.traffic.toDevice += byteLength;
    return this.#copy(target, source, byteLength, TO_DEVICE);
  }

  copyFromDevice(target: Handle | OffHeapView, source: Handle, byteLength: number): NativeCall {
    this.traffic.fromDevice += byteLength;
    return this.#copy(target, source, byteLength, FROM_DEVICE);
  }

  copyOnDevice(target: Handle, source: Handle, byteLength: number): NativeCall {
    return this.#copy(target, source, byteLength, ON_DEVICE);
  }

  /** Copies rows of `width` bytes each. */
  copyRows(target: CopyPlace, source: CopyPlace, width: number, rows: number): NativeCall {
    const { address: to, pitch: toPitch } = target;
    const { address: from, pitch: fromPitch } = source;
    return this.#describe(
      "cudaMemcpy2DAsync",
      ["address", "size", "address", "size", "size", "size", "int", "address"],
      [to, toPitch, from, fromPitch, width, rows, ON_DEVICE, this.stream],
    );
  }

  fill(target: Handle, byte: number, byteLength: number): NativeCall {
    const parameters = ["address", "int", "size", "address"] as const;
    return this.#describe("cudaMemsetAsync", parameters, [target, byte, byteLength, this.stream]);
  }

  /** Waits for everything in the stream. */
  synchronize(): NativeCall {
    return this.#describe("cudaStreamSynchronize", ["address"], [this.stream]);
  }

  /**
   * Makes calls on the card's thread.
   *
   * @throws OrtError, or DeviceError when the card fails
   */
  async call(calls: readonly NativeCall[]): Promise<void> {
    this.loss.throwIfAborted();
    const results = await this.thread.call(calls).catch((cause: unknown) => {
      throw this.#lose(`its thread ended`, cause);
    });
    const failed = results.findIndex((result) => result !== null && result !== 0);
    if (failed < 0) return;
    const result = results[failed]!;
    if (calls[failed]!.result === "int") throw await this.#failure(result);
    try {
      this.#ort.check(result);
    } catch (error) {
      if (isLoss(error)) throw this.#lose(String(error), error);
      throw isOutOfMemory(error) ? this.#noRoomFor("a run") : error;
    }
  }

  /** A call of one of CUDA's libraries. */
  describe(
    library: string,
    name: string,
    parameters: readonly Parameter[],
    args: readonly (Handle | number | OffHeapView)[],
  ): NativeCall {
    return this.#ort.describeForeign(library, name, parameters, args);
  }

  /**
   * Makes calls whose failure says nothing of the card, such as a kernel that it cannot hold.
   *
   * @returns the error code of the first that failed; 0 when none did
   */
  async attempt(calls: readonly NativeCall[]): Promise<number> {
    this.loss.throwIfAborted();
    const results = await this.thread.call(calls);
    return Number(results.find((result) => result !== null && result !== 0) ?? 0);
  }

  /** Machine code for this card. @throws CompilerError */
  compile(source: KernelSource): Promise<Uint8Array<ArrayBuffer>> {
    return compileKernels(source, this.facts, this.#ort);
  }

  /** Where an array lies that a call is given inside another one. */
  addressOf(array: OffHeapView): Handle {
    return this.#ort.address(array);
  }

  /** Makes calls that free something. On a lost card there is nothing left to free, and trying may crash. */
  async release(calls: readonly NativeCall[]): Promise<void> {
    if (!this.loss.aborted) await this.call(calls);
  }

  /**
   * After a loss, and only when no session of this process is on the card any more: gives up what CUDA keeps for it,
   * and ends the thread.
   */
  async abandon(): Promise<void> {
    const reset = this.#describe("cudaDeviceReset", [], []);
    await this.thread.call([reset]).catch(() => {}); // Whether it helped shows when the card is opened again.
    await this.thread.end();
  }

  async #failure(code: NativeResult): Promise<DeviceError> {
    if (code !== OUT_OF_MEMORY) return this.#lose(`CUDA error ${code}`);
    // CUDA remembers it for whoever asks next on this thread, who would take it for a failure of a kernel.
    await this.thread.call([this.#describe("cudaGetLastError", [], [])]).catch(() => {});
    return this.#noRoomFor("what was asked for");
  }

  /** A failed kernel or a card that is gone: CUDA keeps saying so until the process ends. */
  #lose(reason: string, cause?: unknown): DeviceError {
    if (!this.loss.aborted) {
      const message = `The device cuda:${this.index} (${this.facts.name}) was lost: ${reason}.`;
      this.#loss.abort(new DeviceError("device-lost", message, { cause }));
    }
    return this.loss.reason;
  }

  #noRoomFor(what: string): DeviceError {
    return new DeviceError(
      "device-memory",
      `cuda:${this.index} has no memory for ${what}. Use smaller pictures, a smaller context, or fewer slots.`,
    );
  }

  #outOfMemory(byteLength: number, what: string): DeviceError {
    return new DeviceError(
      "device-memory",
      `cuda:${this.index} has no room for ${what}: ${mebibytes(byteLength)} MiB are needed and ` +
        `${mebibytes(Math.max(0, this.remaining))} MiB are left of what may be used. ` +
        "Use a smaller context or fewer slots, or raise deviceMemoryBytes.",
    );
  }

  #copy(
    target: Handle | OffHeapView,
    source: Handle | OffHeapView,
    byteLength: number,
    kind: number,
  ): NativeCall {
    return this.#describe(
      "cudaMemcpyAsync",
      ["address", "address", "size", "int", "address"],
      [target, source, byteLength, kind, this.stream],
    );
  }

  #describe(
    name: string,
    parameters: readonly Parameter[],
    args: readonly (Handle | number | OffHeapView)[],
  ): NativeCall {
    return this.describe(this.facts.runtime, name, parameters, args);
  }
}

/** Did the memory of the card not suffice? ONNX Runtime says so in words only. */
function isOutOfMemory(error: unknown): boolean {
  return (
    error instanceof Error &&
    /Failed to allocate memory for requested buffer|out of memory|CUDA error 2\b/iu.test(
      error.message,
    )
  );
}

/** Errors after which a card answers nothing else until the process ends. */
function isLoss(error: unknown): boolean {
  return (
    error instanceof Error &&
    /illegal memory access|device-side assert|unspecified launch failure|uncorrectable ECC|GPU is lost|CUDA failure 7\d\d/iu.test(
      error.message,
    )
  );
}

function mebibytes(byteLength: number): number {
  return Math.ceil(byteLength / 2 ** 20);
}
