// Kernels of our own on a card: loaded from machine code, described as launches, and recorded, so that a hundred of them
// are one call. In: a program, values and numbers. Out: calls for the card's stream. It knows nothing of what they compute.

import type { KernelSource } from "./cuda-compiler.ts";
import type { CudaDevice } from "./cuda-device.ts";
import { CUDA_DRIVER } from "./cuda-ladder.ts";
import type { NativeCall } from "./device-thread.ts";
import { addresses, type Handle, offHeap } from "./ort.ts";
import { Value } from "./value.ts";

const SHARED_BYTES_ATTRIBUTE = 8;
/** Only this thread is bound by what a recording forbids: others may go on allocating. */
const CAPTURE_MODE_THREAD = 1;
/** A launch that may begin before the one in front of it has ended; cards from 9.0 on. */
const PROGRAMMATIC_LAUNCH = 6;
const PROGRAMMATIC_CAPABILITY = 9;
const MULTIPROCESSORS = 16;
const MOST_SHARED_BYTES = 97;

export interface Launch {
  readonly kernel: string;
  /** Blocks, in three directions. */
  readonly grid: readonly [number, number?, number?];
  /** Threads of a block. */
  readonly threads: number;
  /** Memory that the threads of a block share, beside what the kernel declares itself. @default 0 */
  readonly sharedBytes?: number;
  /** Values as pointers, numbers as 32-bit integers. */
  readonly args: readonly (Value | number)[];
}

/** What kernels are planned by. */
export interface CardLimits {
  readonly multiprocessors: number;
  /** Most memory that the threads of a block can share. */
  readonly sharedBytes: number;
}

/** A program on a card. */
export class CudaKernels {
  readonly #card: CudaDevice;
  readonly #module: Handle;
  readonly #functions = new Map<string, Handle>();

  private constructor(card: CudaDevice, module: Handle) {
    this.#card = card;
    this.#module = module;
  }

  /** @throws CompilerError; KernelError when the card refuses the program */
  static async load(card: CudaDevice, source: KernelSource): Promise<CudaKernels> {
    const code = offHeap(await card.compile(source));
    const module = addresses(1);
    await tell(card, "cuModuleLoadData", [module, code]);
    return new CudaKernels(card, module[0]!);
  }

  /** Makes the launches one call. Values must stay where they are as long as it is used. */
  async record(launches: readonly Launch[]): Promise<CudaRecording> {
    const card = this.#card;
    const calls: NativeCall[] = [];
    for (const launch of launches) calls.push(await this.#describe(launch));
    const [graph, recording] = [addresses(1), addresses(1)];
    const begin = card.describe(
      CUDA_DRIVER,
      "cuStreamBeginCapture_v2",
      ["address", "int"],
      [card.stream, CAPTURE_MODE_THREAD],
    );
    // A recording that has begun ends in any case, or the stream is of no use. And before anybody else's call comes in
    // between, whose work would be recorded too.
    const end = {
      ...describeDriver(card, "cuStreamEndCapture", [card.stream, graph]),
      always: true,
    };
    const failed = await card.attempt([begin, ...calls, end]);
    if (failed !== 0) throw new KernelError("recording of kernels", failed);
    await tell(card, "cuGraphInstantiateWithFlags", [recording, graph[0]!, 0n]);
    await tell(card, "cuGraphDestroy", [graph[0]!]);
    return new CudaRecording(card, recording[0]!);
  }

  async dispose(): Promise<void> {
    await this.#card.release([
      this.#card.describe(CUDA_DRIVER, "cuModuleUnload", ["address"], [this.#module]),
    ]);
  }

  async #describe({ kernel, grid, threads, sharedBytes = 0, args }: Launch): Promise<NativeCall> {
    const card = this.#card;
    const values = addresses(args.length);
    for (const [index, arg] of args.entries()) {
      values[index] = arg instanceof Value ? arg.address : BigInt(arg);
    }
    const pointers = addresses(args.length);
    const first = card.addressOf(values);
    for (const index of args.keys()) pointers[index] = first + BigInt(8 * index);
    const attributes = this.#attributes();
    const config = launchConfig({ grid, threads, sharedBytes }, card.stream, {
      address: card.addressOf(attributes),
      count: attributes.byteLength / ATTRIBUTE_BYTES,
    });
    const function_ = await this.#function(kernel, sharedBytes);
    const call = card.describe(
      CUDA_DRIVER,
      "cuLaunchKernelEx",
      ["address", "address", "address", "address"],
      [config, function_, pointers, 0n],
    );
    return { ...call, keep: [...call.keep, values, attributes] };
  }

  async #function(name: string, sharedBytes: number): Promise<Handle> {
    const known = this.#functions.get(name);
    if (known !== undefined) return known;
    const out = addresses(1);
    const text = offHeap(Uint8Array.from(Buffer.from(`${name}\0`)));
    await tell(this.#card, "cuModuleGetFunction", [out, this.#module, text]);
    const found = out[0]!;
    if (sharedBytes > 0) {
      const args = [found, SHARED_BYTES_ATTRIBUTE, sharedBytes] as const;
      const call = this.#card.describe(
        CUDA_DRIVER,
        "cuFuncSetAttribute",
        ["address", "int", "int"],
        args,
      );
      const code = await this.#card.attempt([call]);
      if (code !== 0) throw new KernelError("cuFuncSetAttribute", code);
    }
    this.#functions.set(name, found);
    return found;
  }

  /** One CUlaunchAttribute, or none. */
  #attributes(): Uint8Array<ArrayBuffer> {
    const early = this.#card.facts.capability >= PROGRAMMATIC_CAPABILITY;
    const bytes = offHeap(new Uint8Array(early ? ATTRIBUTE_BYTES : 0));
    if (early) {
      const view = new DataView(bytes.buffer);
      view.setUint32(0, PROGRAMMATIC_LAUNCH, true);
      view.setInt32(8, 1, true);
    }
    return bytes;
  }
}

/** Launches that were recorded. */
export class CudaRecording {
  readonly #card: CudaDevice;
  readonly #handle: Handle;

  /** @internal Use `CudaKernels.record`. */
  constructor(card: CudaDevice, handle: Handle) {
    this.#card = card;
    this.#handle = handle;
  }

  replay(): NativeCall {
    const args = [this.#handle, this.#card.stream];
    return this.#card.describe(CUDA_DRIVER, "cuGraphLaunch", ["address", "address"], args);
  }

  async dispose(): Promise<void> {
    await this.#card.release([
      this.#card.describe(CUDA_DRIVER, "cuGraphExecDestroy", ["address"], [this.#handle]),
    ]);
  }
}

/** The driver refused something that has to do with kernels. */
export class KernelError extends Error {
  override readonly name = "KernelError";

  constructor(what: string, code: number) {
    super(`The driver's ${what} failed with error ${code}.`);
  }
}

/** @throws KernelError */
export async function cardLimits(card: CudaDevice): Promise<CardLimits> {
  const ask = async (
    name: string,
    parameters: readonly ("address" | "int")[],
    ...args: number[]
  ) => {
    const out = offHeap(new Int32Array(1));
    const code = await card.attempt([card.describe(CUDA_DRIVER, name, parameters, [out, ...args])]);
    if (code !== 0) throw new KernelError(name, code);
    return out[0]!;
  };
  const handle = await ask("cuDeviceGet", ["address", "int"], card.index);
  const attribute = (number: number) =>
    ask("cuDeviceGetAttribute", ["address", "int", "int"], number, handle);
  return {
    multiprocessors: await attribute(MULTIPROCESSORS),
    sharedBytes: await attribute(MOST_SHARED_BYTES),
  };
}

type Address = Handle | BigUint64Array<ArrayBuffer> | Uint8Array<ArrayBuffer>;

/** A call of the driver whose arguments are all addresses. */
function describeDriver(card: CudaDevice, name: string, args: readonly Address[]): NativeCall {
  const parameters = args.map(() => "address" as const);
  return card.describe(CUDA_DRIVER, name, parameters, args);
}

/** Makes such a call. @throws KernelError */
async function tell(card: CudaDevice, name: string, args: readonly Address[]): Promise<void> {
  const code = await card.attempt([describeDriver(card, name, args)]);
  if (code !== 0) throw new KernelError(name, code);
}

/** sizeof(CUlaunchAttribute) */
const ATTRIBUTE_BYTES = 72;
/** sizeof(CUlaunchConfig) */
const CONFIG_BYTES = 56;

/** A CUlaunchConfig. */
function launchConfig(
  { grid: [x, y = 1, z = 1], threads, sharedBytes }: Omit<Required<Launch>, "kernel" | "args">,
  stream: Handle,
  attributes: { readonly address: Handle; readonly count: number },
): Uint8Array<ArrayBuffer> {
  const bytes = offHeap(new Uint8Array(CONFIG_BYTES));
  const view = new DataView(bytes.buffer);
  for (const [index, size] of [x, y, z, threads, 1, 1, sharedBytes].entries()) {
    view.setUint32(4 * index, size, true);
  }
  view.setBigUint64(32, stream, true);
  view.setBigUint64(40, attributes.address, true);
  view.setUint32(48, attributes.count, true);
  return bytes;
}
