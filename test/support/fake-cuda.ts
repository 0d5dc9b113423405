// A machine with CUDA cards that are not there: the driver's and the runtime's functions by name, with answers of an
// H100 with driver 580 and CUDA 13 and of machines without, as the ladder printed them or as NVIDIA documents them. At
// the seam of the runtime: calls are described as for the real thread, and answered here. ONNX Runtime's part is its
// answers alone, as status texts, which were recorded from the real library (cuda-answers.json).

import { writeFileSync } from "node:fs";
import { join } from "node:path";
import type { CudaNative } from "../../src/vlm/runtime/cuda-ladder.ts";
import { CUDA_PROVIDER_FILE } from "../../src/vlm/runtime/cuda-provider.ts";
import type { NativeCall, NativeResult } from "../../src/vlm/runtime/device-thread.ts";
import { OrtError } from "../../src/vlm/runtime/ort-error.ts";
import type { PluginDevice } from "../../src/vlm/runtime/provider-plugins.ts";
import { cudaAnswer } from "./cuda-answers.ts";

const MIB = 2 ** 20;

/** What the system's loader said where a library was missing. */
const NOT_FOUND = (name: string) =>
  `Failed to load shared library: ${name}: cannot open shared object file: No such file or directory`;

/** Of a run that wants more than there is, and of one after a failed kernel. */
export const ORT_OUT_OF_MEMORY = cudaAnswer("cudaMalloc answers 2 while a run takes memory");
export const ORT_ILLEGAL_ACCESS = cudaAnswer("cudaStreamSynchronize answers 700");

/** As NVRTC 13.0 words it. */
export const COMPILER_LOG = 'kernels.cu(1): error: identifier "x" is undefined';

interface FakeCard {
  readonly name: string;
  readonly capability: readonly [major: number, minor: number];
  readonly memoryMiB: number;
}

const H100: FakeCard = { name: "NVIDIA H100 80GB HBM3", capability: [9, 0], memoryMiB: 81_559 };

/** Bytes that a call may be given. */
type View = Int32Array | Uint8Array | BigUint64Array;
type Argument = bigint | number | string | null | View;
type Answer = (args: readonly Argument[]) => number;

export class FakeCuda {
  /** Libraries that are not there. */
  readonly missing = new Set<string>();
  /** As the driver counts: 13000 is 13.0. */
  driverVersion = 13_000;
  cards: FakeCard[] = [H100];
  /** Error codes that functions return instead of doing anything. */
  readonly failures = new Map<string, number>();
  readonly #failsAt = new Map<string, { calls: number; readonly code: number }>();
  /** Pieces of the host's memory that cards have and that were not given back. */
  pinnedPieces = 0;
  /** After a failed kernel every call fails with this, until the card is reset. */
  sticky = 0;
  /** Functions in the order in which they were called, and of which thread. */
  readonly called: string[] = [];
  readonly threads: string[] = [];
  readonly endedThreads: string[] = [];
  /** Threads that do not come to an end, and what was called while the process exited: thread and functions. */
  readonly lateThreads = new Set<string>();
  readonly atExit: string[] = [];
  /** Is waited for before calls with this function are made: a card that takes its time. */
  readonly holds = new Map<string, Promise<void>>();
  /** Functions that are or were held so. */
  readonly waiting: string[] = [];
  readonly directory: string;
  /** The provider as a plugin, and the devices that it names once it is registered. */
  plugin: string | undefined;
  pluginDevices: PluginDevice[] = [];
  /** What registering it fails with. */
  pluginFailure: string | undefined;
  readonly registered: string[] = [];
  /** Memory of the host that cards read and write; the last is the newest. Nothing is ever copied. */
  readonly pinned: ArrayBuffer[] = [];
  /** What such memory holds at first, in numbers of 32 bits. */
  pinnedNumber = 0;
  /** Recordings that were replayed, in order. */
  readonly replayed: bigint[] = [];
  readonly #allocated = new Map<bigint, number>();
  readonly #functions = new Map<bigint, { readonly name: string; readonly args: Argument[] }>();
  readonly #statuses = new Map<bigint, string>();
  #next = 1n;

  /** @param directory where ONNX Runtime lies; a provider is put there */
  constructor(directory: string, provider = "1.30.0", cuda = 13) {
    this.directory = directory;
    const facts = `\0${provider}\0...\0libcudart.so.${cuda}\0...\0cudart64_${cuda}.dll\0`;
    writeFileSync(join(directory, CUDA_PROVIDER_FILE), facts);
  }

  /** Bytes that were given away and not taken back. */
  get usedBytes(): number {
    return [...this.#allocated.values()].reduce((sum, bytes) => sum + bytes, 0);
  }

  /** As `CudaCards` is given it: one thread for each card. */
  readonly start = (name: string): CudaNative => {
    this.threads.push(name);
    return {
      ort: {
        version: "1.30.0",
        directory: this.directory,
        loadLibrary: (path) => {
          const missing = [...this.missing].find((library) => path.endsWith(library));
          if (missing !== undefined) throw new Error(NOT_FOUND(missing));
        },
        describeForeign: (_path, name, parameters, args) =>
          this.#describe(name, "int", parameters, [...(args as Argument[])]),
        callForeignAsync: async (_path, name, _parameters, args) => this.#compile(name, args),
        address: () => this.#next++,
        check: (result) => {
          const text = typeof result === "bigint" ? this.#statuses.get(result) : undefined;
          if (text !== undefined) throw new OrtError(1, text);
        },
        memory: (_address, byteLength) => this.#pin(byteLength),
      },
      plugins: {
        register: async (name, file) => {
          if (this.pluginFailure !== undefined) throw new OrtError(1, this.pluginFailure);
          this.registered.push(`${name} ${file}`);
        },
        // The core names the CPU first, as it did when it was asked.
        devices: async () => [
          { handle: 1n, provider: "CPUExecutionProvider" },
          ...(this.registered.length > 0 ? this.pluginDevices : []),
        ],
      },
      findPlugin: () => this.plugin,
      thread: {
        call: async (calls) => {
          await this.#held(calls);
          return this.#make(calls);
        },
        callAtExit: (calls) => {
          if (this.endedThreads.includes(name)) return "ended";
          this.atExit.push(
            [name, ...calls.map(({ address }) => this.#functions.get(address)!.name)].join(" "),
          );
          return this.lateThreads.has(name) ? "late" : "made";
        },
        end: async () => {
          this.endedThreads.push(name);
        },
      },
    };
  };

  /** The nth call of a function from now on fails, and no other. */
  failNth(name: string, nth: number, code: number): void {
    this.#failsAt.set(name, { calls: nth, code });
  }

  /** ONNX Runtime as the end of the process sees it. */
  get exiting() {
    return {
      environment: 1n,
      describeRelease: (name: string) => this.#describe(name, "void", [], []),
      release: (name: string) => {
        this.atExit.push(name);
      },
    };
  }

  /** A call of ONNX Runtime that fails with this text; without one, it works. */
  ortCall(text?: string): NativeCall {
    const call = this.#describe("Run", "void *", [], []);
    if (text !== undefined) this.#statuses.set(call.address, text);
    return call;
  }

  #pin(byteLength: number): ArrayBuffer {
    const buffer = new ArrayBuffer(byteLength);
    new Float32Array(buffer, 0, Math.floor(byteLength / 4)).fill(this.pinnedNumber);
    this.pinned.push(buffer);
    return buffer;
  }

  #describe(name: string, result: string, parameters: readonly string[], args: Argument[]) {
    const address = this.#next++;
    this.#functions.set(address, { name, args });
    return { address, result, parameters, args: [], stops: true, keep: args };
  }

  async #held(calls: readonly NativeCall[]): Promise<void> {
    for (const { address } of calls) {
      const { name } = this.#functions.get(address)!;
      const hold = this.holds.get(name);
      if (!hold) continue;
      this.waiting.push(name);
      await hold;
    }
  }

  #make(calls: readonly NativeCall[]): NativeResult[] {
    const results: NativeResult[] = [];
    let failed = false;
    for (const { address, result, always } of calls) {
      if (failed && !always) continue;
      const { name, args } = this.#functions.get(address)!;
      this.called.push(name);
      const made = result === "int" ? this.#run(name, args) : this.#status(address);
      results.push(made);
      failed ||= made !== null && made !== 0;
    }
    return results;
  }

  /** CUDA's compiler, which makes 128 bytes of anything. */
  #compile(name: string, args: readonly unknown[]): number {
    this.called.push(name);
    const failure = this.failures.get(name);
    if (failure !== undefined) return failure;
    const out = args.at(-1) as Argument;
    if (name === "nvrtcGetCUBINSize") return writeAddress(out, 128n);
    if (name === "nvrtcGetCUBIN") (out as Uint8Array).set([0x7f, 0x45, 0x4c, 0x46]);
    if (name === "nvrtcGetProgramLogSize") return writeAddress(out, 64n);
    if (name === "nvrtcGetProgramLog") (out as Uint8Array).set(Buffer.from(COMPILER_LOG));
    return 0;
  }

  #status(address: bigint): bigint | null {
    return this.#statuses.has(address) ? address : null;
  }

  #run(name: string, args: readonly Argument[]): number {
    if (name === "cudaDeviceReset") this.sticky = 0;
    const planned = this.#failsAt.get(name);
    if (planned && --planned.calls === 0) return planned.code;
    const failure = this.failures.get(name) ?? (name.startsWith("cuda") ? this.sticky : 0);
    if (failure !== 0) return failure;
    return this.#answers[name]?.(args) ?? 0;
  }

  readonly #answers: Readonly<Record<string, Answer>> = {
    cuDriverGetVersion: ([out]) => write(out, this.driverVersion),
    cuDeviceGetCount: ([out]) => write(out, this.cards.length),
    cuDeviceGet: ([out, index]) => write(out, Number(index)),
    cuDeviceGetName: ([out, , device]) => {
      (out as Uint8Array).set(Buffer.from(`${this.cards[Number(device)]!.name}\0`));
      return 0;
    },
    cuDeviceGetAttribute: ([out, attribute, device]) => {
      const [major, minor] = this.cards[Number(device)]!.capability;
      const known: Record<number, number> = { 16: 132, 75: major, 76: minor, 97: 232_448 };
      return write(out, known[Number(attribute)] ?? 0);
    },
    cuModuleLoadData: ([out]) => writeAddress(out, this.#next++),
    cuModuleGetFunction: ([out]) => writeAddress(out, this.#next++),
    cuStreamEndCapture: ([, out]) => writeAddress(out, this.#next++),
    cuGraphInstantiateWithFlags: ([out]) => writeAddress(out, this.#next++),
    cudaStreamCreateWithFlags: ([out]) => writeAddress(out, this.#next++),
    cudaMemGetInfo: ([free, total]) => {
      const bytes = this.cards[0]!.memoryMiB * MIB;
      writeAddress(free, BigInt(bytes - this.usedBytes));
      return writeAddress(total, BigInt(bytes));
    },
    cuGraphLaunch: ([recording]) => {
      this.replayed.push(recording as bigint);
      return 0;
    },
    cudaMalloc: ([out, bytes]) => this.#allocate(out, bytes),
    cudaMallocHost: ([out]) => {
      this.pinnedPieces++;
      return writeAddress(out, this.#next++);
    },
    cudaFreeHost: () => {
      this.pinnedPieces--;
      return 0;
    },
    cudaFree: ([address]) => {
      this.#allocated.delete(address as bigint);
      return 0;
    },
  };

  #allocate(out: Argument | undefined, bytes: Argument | undefined): number {
    const room = this.cards[0]!.memoryMiB * MIB - this.usedBytes;
    if (Number(bytes) > room) return 2;
    const address = this.#next++;
    this.#allocated.set(address, Number(bytes));
    return writeAddress(out, address);
  }
}

function write(out: Argument | undefined, value: number): number {
  (out as Int32Array)[0] = value;
  return 0;
}

function writeAddress(out: Argument | undefined, value: bigint): number {
  (out as BigUint64Array)[0] = value;
  return 0;
}
