// A graph ready to run. In: a model file, then named values. Out: the outputs, written in place into the values they
// are bound to. Runs leave the event loop free and can be cancelled. It knows nothing of what the graph computes.

import { basename, dirname } from "node:path";
import { DisposedError, ModelLoadError } from "../errors.ts";
import { defaultThreads } from "./cpu-threads.ts";
import { appendProvider, type Device, memoryOf } from "./device.ts";
import { addresses, type Handle, LOG_FATAL, loadOrt, type Ort, offHeap } from "./ort.ts";
import { OrtError } from "./ort-error.ts";
import { readSignature, type Signature, type TensorSpec } from "./signature.ts";
import { stopAtExit } from "./stop-at-exit.ts";
import { type ElementType, memoryInfo, shapeText, Value } from "./value.ts";

export interface SessionOptions {
  /** @default "cpu" */
  readonly device?: Device;
  /** Threads of one run, the calling one included. @default the physical cores this process may use */
  readonly threads?: number;
  /** Threads that wait for work spin for a moment: faster, at the price of idle work. @default true */
  readonly spinning?: boolean;
  /** Keep memory between runs: faster, at the price of holding what the largest run needed. @default true */
  readonly memoryArena?: boolean;
  /** Contents of the graph's external tensors, by name, instead of a file. Used where they lie until the session ends. */
  readonly externalInitializers?: NamedValues;
  /** Further settings of ONNX Runtime, such as `session.x64quantprecision`. */
  readonly configEntries?: Readonly<Record<string, string>>;
  /** Aborting stops the loading and rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

export interface RunOptions {
  /** Aborting stops the run between two operators and rejects with `signal.reason`. */
  readonly signal?: AbortSignal | undefined;
}

export type NamedValues = Readonly<Record<string, Value>>;

/** A loaded graph. Several runs may be in progress at once. */
export class Session {
  /** File name of the graph, for messages. */
  readonly name: string;
  readonly device: Device;
  readonly inputs: readonly TensorSpec[];
  readonly outputs: readonly TensorSpec[];
  readonly #handle: Handle;
  readonly #signature: Signature;
  readonly #allocator: Handle;
  readonly #allocated = new Set<Value>();
  readonly #running = new Set<Promise<void>>();
  #disposing: Promise<void> | undefined;

  private constructor(name: string, device: Device, handle: Handle) {
    const ort = loadOrt();
    this.name = name;
    this.device = device;
    this.#handle = handle;
    this.#signature = readSignature(ort, handle);
    this.inputs = this.#signature.inputs;
    this.outputs = this.#signature.outputs;
    this.#allocator =
      device === "cpu"
        ? ort.create("GetAllocatorWithDefaultOptions")
        : ort.create("CreateAllocator", handle, memoryInfo(memoryOf(device)));
  }

  /**
   * Loads a graph, from a file or from the bytes of one, without blocking the event loop.
   *
   * @throws ModelLoadError when the file is missing or broken, or the device cannot be used.
   */
  static async load(model: string | Uint8Array, options: SessionOptions = {}): Promise<Session> {
    const { device = "cpu", signal } = options;
    const name = typeof model === "string" ? basename(model) : "the graph";
    signal?.throwIfAborted();
    const ort = loadOrt();
    const sessionOptions = ort.create("CreateSessionOptions");
    const cancel = () => ort.call("SessionOptionsSetLoadCancellationFlag", sessionOptions, 1);
    signal?.addEventListener("abort", cancel, { once: true });
    const forget = stopAtExit(cancel);
    try {
      configure(ort, sessionOptions, options);
      giveInitializers(ort, sessionOptions, options.externalInitializers ?? {});
      appendProvider(ort, sessionOptions, device);
      const out = addresses(1);
      if (typeof model === "string") {
        await ort.callAsync("CreateSession", ort.environment, model, sessionOptions, out);
      } else {
        const bytes = [offHeap(model), model.byteLength] as const;
        await ort.callAsync(
          "CreateSessionFromArray",
          ort.environment,
          ...bytes,
          sessionOptions,
          out,
        );
      }
      try {
        signal?.throwIfAborted();
        return new Session(name, device, out[0]!);
      } catch (error) {
        await ort.releaseAsync("ReleaseSession", out[0]!);
        throw error;
      }
    } catch (error) {
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
    this.#check(inputs, outputs);
    const run = this.#run(inputs, outputs, options.signal);
    const ended = run.catch(() => {});
    this.#running.add(ended);
    try {
      await run;
    } finally {
      this.#running.delete(ended);
    }
  }

  /** A value in the memory of this session's device. It ends with the session at the latest. */
  allocate(type: ElementType, dims: readonly number[]): Value {
    if (this.#disposing) throw new DisposedError(`The session of ${this.name}`);
    const value = Value.allocate(this.#allocator, memoryOf(this.device), type, dims, (freed) =>
      this.#allocated.delete(freed),
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
    if (this.device !== "cpu") ort.release("ReleaseAllocator", this.#allocator);
    await ort.releaseAsync("ReleaseSession", this.#handle);
    await ort.returnFreeMemory();
  }

  async #run(inputs: NamedValues, outputs: NamedValues, signal?: AbortSignal): Promise<void> {
    const ort = loadOrt();
    const used: Value[] = [];
    const runOptions = ort.create("CreateRunOptions");
    const terminate = () => ort.call("RunOptionsSetTerminate", runOptions);
    signal?.addEventListener("abort", terminate, { once: true });
    const forget = stopAtExit(terminate);
    try {
      // A cancelled run is no news to the log; a failed one comes back as an error.
      ort.call("RunOptionsSetRunLogSeverityLevel", runOptions, LOG_FATAL);
      const bind = (names: readonly string[], values: NamedValues) => {
        const nameAddresses = addresses(names.length);
        const handles = addresses(names.length);
        for (const [index, name] of names.entries()) {
          const value = values[name]!;
          handles[index] = value.acquire();
          used.push(value);
          nameAddresses[index] = this.#signature.nameAddresses.get(name)!;
        }
        return [nameAddresses, handles] as const;
      };
      const [inputNames, inputHandles] = bind(Object.keys(inputs), inputs);
      const [outputNames, outputHandles] = bind(Object.keys(outputs), outputs);
      await ort.callAsync(
        "Run",
        this.#handle,
        runOptions,
        inputNames,
        inputHandles,
        inputHandles.length,
        outputNames,
        outputHandles.length,
        outputHandles,
      );
    } catch (error) {
      signal?.throwIfAborted();
      throw error;
    } finally {
      forget();
      signal?.removeEventListener("abort", terminate);
      ort.release("ReleaseRunOptions", runOptions);
      for (const value of used) value.giveBack();
    }
    signal?.throwIfAborted();
  }

  #check(inputs: NamedValues, outputs: NamedValues): void {
    for (const spec of this.inputs) {
      if (!inputs[spec.name]) throw new TypeError(`${this.name} wants an input \`${spec.name}\``);
    }
    for (const [kind, values, specs] of [
      ["input", inputs, this.#signature.inputsByName],
      ["output", outputs, this.#signature.outputsByName],
    ] as const) {
      for (const [name, value] of Object.entries(values)) {
        const spec = specs.get(name);
        if (!spec) throw new TypeError(`${this.name} has no ${kind} \`${name}\``);
        if (!fits(value, spec)) {
          throw new TypeError(
            `Expected ${kind} \`${name}\` of ${this.name} to be ${spec.type} ${shapeText(spec.dims)}, ` +
              `got ${value.type} ${shapeText(value.dims)}`,
          );
        }
      }
    }
  }
}

function fits(value: Value, spec: TensorSpec): boolean {
  return (
    value.type === spec.type &&
    value.dims.length === spec.dims.length &&
    spec.dims.every((size, axis) => typeof size === "string" || size === value.dims[axis])
  );
}

const OPTIMIZE_ALL = 99;

function configure(ort: Ort, sessionOptions: Handle, options: SessionOptions): void {
  const { threads = defaultThreads(), spinning = true, memoryArena = true } = options;
  const spin = spinning ? "1" : "0";
  const entries = {
    "session.intra_op.allow_spinning": spin,
    "session.inter_op.allow_spinning": spin,
    ...options.configEntries,
  };
  ort.call("SetSessionLogSeverityLevel", sessionOptions, LOG_FATAL);
  ort.call("SetSessionGraphOptimizationLevel", sessionOptions, OPTIMIZE_ALL);
  ort.call("SetIntraOpNumThreads", sessionOptions, threads);
  ort.call(memoryArena ? "EnableCpuMemArena" : "DisableCpuMemArena", sessionOptions);
  for (const [key, value] of Object.entries(entries)) {
    ort.call("AddSessionConfigEntry", sessionOptions, key, value);
  }
}

/** The session's own references to the values end with the session; the memory is the caller's. */
function giveInitializers(ort: Ort, sessionOptions: Handle, values: NamedValues): void {
  const names = Object.keys(values);
  if (names.length === 0) return;
  const texts = names.map((name) => offHeap(Buffer.from(`${name}\0`)));
  const used = Object.values(values);
  const nameAddresses = addresses(names.length);
  const handles = addresses(names.length);
  for (const [index, value] of used.entries()) {
    nameAddresses[index] = ort.address(texts[index]!);
    handles[index] = value.acquire();
  }
  try {
    ort.call("AddExternalInitializers", sessionOptions, nameAddresses, handles, names.length);
  } finally {
    for (const value of used) value.giveBack();
  }
}

function loadError(model: string | Uint8Array, cause: OrtError): ModelLoadError {
  const what = typeof model === "string" ? `the file ${model}` : "a graph";
  if (cause.code === "no-such-file" && typeof model === "string") {
    const options = { cause, missing: [basename(model)], modelDir: dirname(model) };
    return new ModelLoadError("model-files-missing", `There is no file ${model}.`, options);
  }
  if (cause.code === "invalid-protobuf") {
    return new ModelLoadError("model-corrupt", `Expected ${what} to be an ONNX model.`, { cause });
  }
  return new ModelLoadError(
    "session-failed",
    `ONNX Runtime could not load ${what}: ${cause.message}`,
    { cause },
  );
}
