// One CUDA card: its thread, its stream, its memory and the copies to and from it. In: sizes and arrays. Out: blocks
// of memory, and calls to put between runs. Nothing above the runtime sees an address of it.

import { sharedController } from "../../abort.ts";
import { DeviceError } from "../errors.ts";
import { compileKernels, type KernelSource } from "./cuda-compiler.ts";
import { CudaCopies } from "./cuda-copies.ts";
import { cudaWords, isLoss, isOutOfMemory, OUT_OF_MEMORY } from "./cuda-errors.ts";
import { type CudaFacts, type CudaNative, climbCuda, type RungListener } from "./cuda-ladder.ts";
import type { NativeCall, NativeResult } from "./device-thread.ts";
import { CardBudgets, MemoryBudget } from "./memory-budget.ts";
import { addresses, type Handle, type OffHeapView } from "./ort.ts";
import type { Parameter } from "./ort-functions.ts";
import { RecordingGate } from "./recording-gate.ts";

/** A stream that does not wait for the default one. */
const NON_BLOCKING = 1;

/** Of all cards: CUDA forbids allocations on every thread of the process while ONNX Runtime records. */
const gate = new RecordingGate();

/** A piece of the card's memory. */
export interface CudaBlock {
  readonly address: Handle;
  readonly byteLength: number;
  /** Whose it is. */
  readonly budget: MemoryBudget;
}

/** Memory of the host that the card reads and writes by itself. */
export interface PinnedBlock {
  readonly address: Handle;
  readonly buffer: ArrayBuffer;
}

/** A card that can be used. One per card and process. */
export class CudaDevice {
  readonly index: number;
  readonly facts: CudaFacts;
  readonly thread: CudaNative["thread"];
  /** All runs and copies are in this stream, one after the other. */
  readonly stream: Handle;
  readonly copies: CudaCopies;
  /** Of the models on it. */
  readonly budgets: CardBudgets;
  /** Of what belongs to no model; it has no bound but the card's. */
  readonly budget: MemoryBudget;
  readonly #ort: CudaNative["ort"];
  readonly #loss = sharedController();
  /** Sessions that live on it. */
  readonly sessions = new Set<Handle>();

  private constructor(index: number, facts: CudaFacts, native: CudaNative, stream: Handle) {
    this.index = index;
    this.facts = facts;
    this.thread = native.thread;
    this.#ort = native.ort;
    this.stream = stream;
    this.budgets = new CardBudgets(`cuda:${index}`);
    this.budget = new MemoryBudget(`cuda:${index}`);
    this.copies = new CudaCopies(stream, (name, parameters, args) =>
      this.#describe(name, parameters, args),
    );
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
    return new CudaDevice(index, facts, native, stream[0]!);
  }

  /** Aborts when the card is lost, with the error that says so. */
  get loss(): AbortSignal {
    return this.#loss.signal;
  }

  /**
   * Room for a model that is about to be loaded.
   *
   * @param bytes that it may use @default 90 % of what is free and other models of this process may not still take
   */
  openBudget(bytes?: number): Promise<MemoryBudget> {
    return this.budgets.open(bytes, async () => (await this.memory()).free);
  }

  /** Free and whole memory of the card, in bytes. */
  async memory(): Promise<{ readonly free: number; readonly total: number }> {
    const [free, total] = [addresses(1), addresses(1)];
    await this.call([this.#describe("cudaMemGetInfo", ["address", "address"], [free, total])]);
    return { free: Number(free[0]), total: Number(total[0]) };
  }

  /** @throws DeviceError `device-memory` when it does not fit, by the budget or by the card */
  async allocate(byteLength: number, what: string, budget = this.budget): Promise<CudaBlock> {
    budget.reserve(byteLength, what);
    const address = addresses(1);
    try {
      await this.call([this.#describe("cudaMalloc", ["address", "size"], [address, byteLength])]);
    } catch (error) {
      budget.unreserve(byteLength);
      if (!(error instanceof DeviceError) || error.code !== "device-memory") throw error;
      throw budget.refusal(byteLength, what);
    }
    return { address: address[0]!, byteLength, budget };
  }

  async free({ address, byteLength, budget }: CudaBlock): Promise<void> {
    budget.unreserve(byteLength);
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

  /** Waits for everything in the stream. */
  synchronize(): NativeCall {
    return this.#describe("cudaStreamSynchronize", ["address"], [this.stream]);
  }

  /**
   * Makes calls on the card's thread. When one fails, what was given to the stream before it has ended: the memory of the
   * host that it reads may be used again.
   *
   * @param records ONNX Runtime records what it is given: no other card of this process is called meanwhile
   * @param what is computed, in the error when there is no memory for it
   * @throws OrtError, or DeviceError when the card fails
   */
  async call(
    calls: readonly NativeCall[],
    { records = false, what = "a run" } = {},
  ): Promise<void> {
    const results = await this.#make(calls, records);
    const failed = results.findIndex((result) => result !== null && result !== 0);
    if (failed < 0) return;
    const failure = await this.#failureOf(calls[failed]!, results[failed]!, what);
    // What was given to the stream before may be under way still; a loss may show only now.
    if (!this.loss.aborted) await this.#waitForStream();
    throw failure;
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
    const results = await this.#make(calls, false);
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

  async #make(calls: readonly NativeCall[], records: boolean): Promise<NativeResult[]> {
    this.loss.throwIfAborted();
    const make = () =>
      this.thread.call(calls).catch((cause: unknown) => {
        throw this.#lose("its thread ended", cause);
      });
    return records ? gate.record(make) : gate.pass(make);
  }

  async #failureOf({ result: type }: NativeCall, result: NativeResult, what: string) {
    if (type === "int") {
      if (result !== OUT_OF_MEMORY) return this.#lose(`CUDA error ${result}`);
      // CUDA remembers it for whoever asks next on this thread, who would take it for a failure of a kernel.
      await this.thread.call([this.#describe("cudaGetLastError", [], [])]).catch(() => {});
      return this.#noRoomFor("what was asked for");
    }
    try {
      this.#ort.check(result);
    } catch (error) {
      if (isLoss(error)) return this.#lose(cudaWords(error), error);
      return isOutOfMemory(error) ? this.#noRoomFor(what, error) : error;
    }
    return new TypeError(`A call of ${type} failed without saying why`);
  }

  async #waitForStream(): Promise<void> {
    const [code] = await this.#make([this.synchronize()], false);
    if (code !== 0 && code !== null) throw this.#lose(`CUDA error ${code}`);
  }

  /** A failed kernel or a card that is gone: CUDA keeps saying so until the process ends. */
  #lose(reason: string, cause?: unknown): DeviceError {
    if (!this.loss.aborted) {
      const message = `The device cuda:${this.index} (${this.facts.name}) was lost: ${reason}.`;
      this.#loss.abort(new DeviceError("device-lost", message, { cause }));
    }
    return this.loss.reason;
  }

  #noRoomFor(what: string, cause?: unknown): DeviceError {
    return new DeviceError(
      "device-memory",
      `cuda:${this.index} has no memory for ${what}. Use smaller pictures, a smaller context, or fewer slots.`,
      { cause },
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
