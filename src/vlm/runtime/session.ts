// A graph ready to run. In: a model file, then named values. Out: the outputs, written in place into the values they
// are bound to. Runs leave the event loop free and can be cancelled. It knows nothing of what the graph computes.

import { basename } from "node:path";
import { nativePath } from "../../disk.ts";
import { DeviceError, DisposedError } from "../errors.ts";
import { BackgroundThread } from "./background-thread.ts";
import { type ComputePriority, hasThreadPriorities } from "./compute-priority.ts";
import { CudaDevice } from "./cuda-device.ts";
import { cudaRunSettings } from "./cuda-run-settings.ts";
import { appendProvider, type Device, memoryOf, type OpenDevice, openDevice } from "./device.ts";
import { deviceExit } from "./device-exit.ts";
import type { NativeCall } from "./device-thread.ts";
import { allocatorOf, cudaValue, webGpuValue } from "./device-values.ts";
import type { MemoryBudget } from "./memory-budget.ts";
import { addresses, type Handle, LOG_FATAL, loadOrt, type Ort, offHeap } from "./ort.ts";
import { OrtError } from "./ort-error.ts";
import { expectFit, type NamedValues, RunBinding } from "./run-binding.ts";
import { configure, giveInitializers, lendInitializers, loadError } from "./session-options.ts";
import { readSignature, type Signature, type TensorSpec } from "./signature.ts";
import { stopAtExit } from "./stop-at-exit.ts";
import { type ElementType, Value } from "./value.ts";

export interface SessionOptions {
  /** @default "cpu" */
  readonly device?: Device;
  /** Threads of one run, the calling one included. @default the physical cores this process may use */
  readonly threads?: number;
  /**
   * `"low"`: everything else on the machine, this process's event loop included, has a core first. On the CPU, where the
   * system has priorities of threads (Linux). @default "normal"
   */
  readonly priority?: ComputePriority | undefined;
  /** Threads that wait for work spin for a moment: faster, at the price of idle work. @default true */
  readonly spinning?: boolean;
  /** Keep memory between runs: faster, at the price of holding what the largest run needed. @default true */
  readonly memoryArena?: boolean;
  /** Contents of the graph's external tensors, by name, instead of a file. Used where they lie until the session ends. */
  readonly externalInitializers?: NamedValues;
  /** Values in the place of tensors of the graph, in memory of its device. They must outlive the session. */
  readonly lentInitializers?: NamedValues | undefined;
  /** What the session's model may use of a card's memory. @default what the card has */
  readonly budget?: MemoryBudget | undefined;
  /** Further settings of ONNX Runtime, such as `session.x64quantprecision`. */
  readonly configEntries?: Readonly<Record<string, string>>;
  /** May runs be recorded and replayed, see `RunOptions.graphId`? CUDA only. @default false */
  readonly captureGraphs?: boolean;
  /** Aborting stops the loading and rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

export interface RunOptions {
  /** Aborting stops the run between two operators and rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
  /** On a device: what happens on its thread before and after the run, such as copies. */
  readonly before?: readonly NativeCall[];
  readonly after?: readonly NativeCall[];
  /**
   * Of a session with `captureGraphs`: runs of one id are recorded once and then replayed, with the very same values
   * and shapes; -1 is a run like any other. @default -1
   */
  readonly graphId?: number;
}

export type { NamedValues } from "./run-binding.ts";

/** A loaded graph. Several runs may be in progress at once. */
export class Session {
  /** File name of the graph, for messages. */
  readonly name: string;
  readonly device: Device;
  readonly inputs: readonly TensorSpec[];
  /** Inputs that a run may leave out: the graph has something in their place. */
  readonly optionalInputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly #handle: Handle;
  readonly #signature: Signature;
  /** @internal The device, where it is another than the CPU. */
  readonly open: OpenDevice | undefined;
  /** Where it runs, if not on threads of libuv's pool. */
  readonly #background: BackgroundThread | undefined;
  readonly #captureGraphs: boolean;
  readonly #budget: MemoryBudget | undefined;
  readonly #allocator: Handle | undefined;
  readonly #allocated = new Set<Value>();
  readonly #running = new Set<Promise<void>>();
  /** A run on a card had too little memory: what earlier ones took and nobody uses goes back with the next. */
  #shrinks = false;
  /** Ids of runs that were recorded. */
  readonly #recorded = new Set<number>();
  #disposing: Promise<void> | undefined;

  private constructor(
    name: string,
    device: Device,
    handle: Handle,
    open: OpenDevice | undefined,
    allocator: Handle | undefined,
    { captureGraphs = false, budget }: SessionOptions,
    background: BackgroundThread | undefined,
  ) {
    const ort = loadOrt();
    this.name = name;
    this.device = device;
    this.#handle = handle;
    this.open = open;
    this.#allocator = allocator;
    this.#captureGraphs = captureGraphs;
    this.#budget = budget;
    this.#background = background;
    this.#signature = readSignature(ort, handle);
    this.inputs = this.#signature.inputs;
    this.optionalInputs = this.#signature.optionalInputs;
    this.outputs = this.#signature.outputs;
    if (open) deviceExit.keepSession(open, handle);
  }

  /**
   * Loads a graph, from a file or from the bytes of one, without blocking the event loop.
   *
   * @throws ModelLoadError when the file is missing or broken, or the device cannot be used.
   */
  static async load(model: string | Uint8Array, options: SessionOptions = {}): Promise<Session> {
    const { device = "cpu", signal } = options;
    const graph = typeof model === "string" ? basename(model) : "the graph";
    signal?.throwIfAborted();
    const ort = loadOrt();
    const open = await openDevice(device);
    const background = backgroundOf(options);
    const thread = open ?? background;
    const sessionOptions = ort.create("CreateSessionOptions");
    const cancel = () => ort.call("SessionOptionsSetLoadCancellationFlag", sessionOptions, 1);
    signal?.addEventListener("abort", cancel, { once: true });
    const forget = stopAtExit(cancel);
    try {
      configure(ort, sessionOptions, options);
      giveInitializers(ort, sessionOptions, options.externalInitializers ?? {});
      lendInitializers(ort, sessionOptions, options.lentInitializers ?? {});
      await appendProvider(ort, sessionOptions, device, open, options);
      const out = addresses(1);
      const call = <Name extends "CreateSession" | "CreateSessionFromArray">(
        name: Name,
        ...args: Parameters<Ort["call"]> extends [unknown, ...infer Rest] ? Rest : never
      ) =>
        thread
          ? thread.call([ort.describe(name, ...args)], { what: `loading ${graph}` })
          : ort.callAsync(name, ...args);
      if (typeof model === "string") {
        await call("CreateSession", ort.environment, nativePath(model), sessionOptions, out);
      } else {
        const bytes = [offHeap(model), model.byteLength] as const;
        await call("CreateSessionFromArray", ort.environment, ...bytes, sessionOptions, out);
      }
      try {
        signal?.throwIfAborted();
        const allocator = await allocatorOf(ort, device, open, out[0]!);
        return new Session(graph, device, out[0]!, open, allocator, options, background);
      } catch (error) {
        if (open) await open.call([ort.describeRelease("ReleaseSession", out[0]!)]);
        else await ort.releaseAsync("ReleaseSession", out[0]!);
        throw error;
      }
    } catch (error) {
      await background?.end();
      signal?.throwIfAborted();
      throw error instanceof OrtError ? loadError(model, error) : error;
    } finally {
      forget();
      signal?.removeEventListener("abort", cancel);
      ort.release("ReleaseSessionOptions", sessionOptions);
    }
  }

  /**
   * Computes the given outputs from the inputs. Outputs are bound beforehand: the graph writes into their memory,
   * and one value may be input and output at once.
   *
   * @throws TypeError naming an input or output that is missing, unknown, or of another type or shape.
   * @throws OrtError when the graph fails.
   */
  async run(inputs: NamedValues, outputs: NamedValues, options: RunOptions = {}): Promise<void> {
    if (this.#disposing) throw new DisposedError(`The session of ${this.name}`);
    options.signal?.throwIfAborted();
    expectFit(this.name, this.#signature, inputs, outputs);
    const run = this.#run(inputs, outputs, options);
    const ended = run.catch(() => {});
    this.#running.add(ended);
    try {
      await run;
    } finally {
      this.#running.delete(ended);
    }
  }

  /**
   * A value in the memory of the CPU. It ends with the session at the latest.
   *
   * @throws TypeError on another device: see {@link allocateOnDevice}.
   */
  allocate(type: ElementType, dims: readonly number[]): Value {
    if (this.#disposing) throw new DisposedError(`The session of ${this.name}`);
    if (this.#allocator === undefined || this.open) {
      throw new TypeError(`Memory of ${this.device} is allocated on the device's own thread`);
    }
    const value = Value.allocate(this.#allocator, memoryOf(this.device), type, dims, (freed) =>
      this.#allocated.delete(freed),
    );
    this.#allocated.add(value);
    return value;
  }

  /**
   * A value in the memory of this session's device, whichever it is. It ends with the session at the latest.
   *
   * @param what it is for, in an error
   * @throws DeviceError `device-memory` when there is no room
   */
  async allocateOnDevice(
    type: ElementType,
    dims: readonly number[],
    what = "a tensor",
  ): Promise<Value> {
    const open = this.open;
    if (!open) return this.allocate(type, dims);
    if (this.#disposing) throw new DisposedError(`The session of ${this.name}`);
    const value =
      open instanceof CudaDevice
        ? await cudaValue(open, type, dims, what, () => this.#allocated.delete(value), this.#budget)
        : await webGpuValue(open, this.#allocator!, type, dims, () =>
            this.#allocated.delete(value),
          );
    this.#allocated.add(value);
    return value;
  }

  /** Waits for the runs in progress, then frees everything. Calling it again is fine. */
  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    await Promise.all(this.#running);
    for (const value of this.#allocated) value.dispose();
    const ort = loadOrt();
    if (this.open) {
      deviceExit.endSession(this.open, this.#handle);
      const session = ort.describeRelease("ReleaseSession", this.#handle);
      const allocator = this.#allocator;
      const calls = allocator
        ? [ort.describeRelease("ReleaseAllocator", allocator), session]
        : [session];
      await this.open.release(calls);
    } else {
      await ort.releaseAsync("ReleaseSession", this.#handle);
      await this.#background?.end();
    }
    await ort.returnFreeMemory();
  }

  async #run(inputs: NamedValues, outputs: NamedValues, options: RunOptions): Promise<void> {
    const { signal, graphId = -1 } = options;
    const ort = loadOrt();
    const records = this.#captureGraphs && graphId >= 0 && !this.#recorded.has(graphId);
    const binding = new RunBinding(this.#signature);
    const runOptions = ort.create("CreateRunOptions");
    const terminate = () => ort.call("RunOptionsSetTerminate", runOptions);
    // One that is recorded goes on to its end: a stream that is left in the middle is of no use to anybody.
    if (!records) signal?.addEventListener("abort", terminate, { once: true });
    const forget = stopAtExit(terminate);
    try {
      // A cancelled run is no news to the log; a failed one comes back as an error.
      ort.call("RunOptionsSetRunLogSeverityLevel", runOptions, LOG_FATAL);
      const [inputNames, inputHandles] = binding.bind(inputs);
      const [outputNames, outputHandles] = binding.bind(outputs);
      const args = [
        this.#handle,
        runOptions,
        inputNames,
        inputHandles,
        inputHandles.length,
        outputNames,
        outputHandles.length,
        outputHandles,
      ] as const;
      if (this.open) {
        const { before = [], after = [] } = options;
        for (const [key, value] of Object.entries(this.#settingsOf(options))) {
          ort.call("AddRunConfigEntry", runOptions, key, value);
        }
        await this.open.call([...before, ort.describe("Run", ...args), ...after], { records });
        if (!(this.open instanceof CudaDevice)) {
          this.open.traffic.toDevice += hostBytes(inputs);
          this.open.traffic.fromDevice += hostBytes(outputs);
        }
        if (records) this.#recorded.add(graphId);
      } else if (this.#background) {
        await this.#background.call([ort.describe("Run", ...args)]);
      } else {
        await ort.callAsync("Run", ...args);
      }
    } catch (error) {
      signal?.throwIfAborted();
      this.#shrinks ||= error instanceof DeviceError && error.code === "device-memory";
      throw error;
    } finally {
      forget();
      signal?.removeEventListener("abort", terminate);
      ort.release("ReleaseRunOptions", runOptions);
      binding.giveBack();
    }
    signal?.throwIfAborted();
  }

  #settingsOf({ after = [], graphId }: RunOptions): Readonly<Record<string, string>> {
    if (!(this.open instanceof CudaDevice)) return {};
    const shrinks = this.#shrinks;
    this.#shrinks = false;
    return cudaRunSettings({
      card: this.open.index,
      waits: after.length > 0,
      shrinks,
      captureGraphs: this.#captureGraphs,
      graphId,
    });
  }
}

/** Of the values that lie in the memory of the CPU: ONNX Runtime copies them by itself. */
function hostBytes(values: NamedValues): number {
  const lying = Object.values(values).filter(({ location }) => location.name === "Cpu");
  return lying.reduce((sum, { byteLength }) => sum + byteLength, 0);
}

/** A thread that gives way, for a session that is to have one. */
function backgroundOf({ device = "cpu", priority }: SessionOptions): BackgroundThread | undefined {
  const wanted = device === "cpu" && priority === "low" && hasThreadPriorities();
  return wanted ? new BackgroundThread() : undefined;
}
