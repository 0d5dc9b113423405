// CUDA C in, machine code for one card out: NVIDIA's compiler, which comes with a toolkit or in a wheel, called in this
// process. What it made is kept in the user's cache, so that it is needed once. It knows nothing of what it compiles.

import { createHash } from "node:crypto";
import { readFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { disk } from "../../disk.ts";
import { userCacheDir } from "../convert/user-cache-dir.ts";
import type { CudaFacts } from "./cuda-ladder.ts";
import { findCompiler } from "./cuda-libraries.ts";
import { addresses, type Handle, type Ort, offHeap } from "./ort.ts";

/** A program, and what its names in capitals are. */
export interface KernelSource {
  readonly text: string;
  readonly constants: Readonly<Record<string, string | number>>;
}

/** Of NVRTC; the only option of ours that depends on the card is the architecture. */
const INVALID_OPTION = 5;

/** The compiler is not there, or did not like the program. */
export class CompilerError extends Error {
  override readonly name = "CompilerError";
}

export type CompilerOrt = Pick<Ort, "directory" | "loadLibrary" | "callForeignAsync" | "address">;

/**
 * Compiles a program for a card, or finds it compiled.
 *
 * @throws CompilerError
 */
export async function compileKernels(
  source: KernelSource,
  { cuda, capability }: Pick<CudaFacts, "cuda" | "capability">,
  ort: CompilerOrt,
  cacheDir: string = userCacheDir(),
): Promise<Uint8Array<ArrayBuffer>> {
  const options = [
    `--gpu-architecture=sm_${Math.round(capability * 10)}`,
    "--std=c++17",
    ...Object.entries(source.constants).map(([name, value]) => `-D${name}=${value}`),
  ];
  const hash = createHash("sha256");
  for (const part of [String(cuda), source.text, ...options]) hash.update(`${part}\0`);
  const kept = join(cacheDir, "napcat-vlm", "kernels", `${hash.digest("hex")}.cubin`);
  const known = await readFile(kept).catch(() => undefined);
  if (known !== undefined && isMachineCode(known)) return Uint8Array.from(known);
  const made = await new Compiler(cuda, ort).compile(source.text, options);
  // A cache that cannot be written costs the time of the next start, and nothing else.
  await keep(kept, made).catch(() => {});
  return made;
}

/** A program for a card is an ELF file. */
function isMachineCode(bytes: Uint8Array): boolean {
  return bytes.byteLength > 64 && bytes[0] === 0x7f && bytes[1] === 0x45;
}

async function keep(file: string, bytes: Uint8Array): Promise<void> {
  await disk.makeDirectory(dirname(file));
  await disk.replaceFile(file, bytes);
}

type Types = Parameters<CompilerOrt["callForeignAsync"]>[2];
type Arguments = Parameters<CompilerOrt["callForeignAsync"]>[3];

class Compiler {
  readonly #ort: CompilerOrt;
  readonly #library: string;

  /** @throws CompilerError when it is not installed */
  constructor(cuda: 12 | 13, ort: CompilerOrt) {
    const found = findCompiler(cuda, { beside: ort.directory });
    if (found === undefined) {
      throw new CompilerError(
        `CUDA's compiler (NVRTC ${cuda}) is not installed. Run \`npx napcat-vlm setup-cuda\`, or \`pip install nvidia-cuda-nvrtc\`.`,
      );
    }
    this.#ort = ort;
    this.#library = found.at(-1)!;
    try {
      for (const path of found) ort.loadLibrary(path);
    } catch (cause) {
      throw new CompilerError(`CUDA's compiler ${this.#library} cannot be loaded.`, { cause });
    }
  }

  /** Takes seconds, on another thread. */
  async compile(text: string, options: readonly string[]): Promise<Uint8Array<ArrayBuffer>> {
    const program = addresses(1);
    const made = [program, cString(text), cString("kernels.cu"), 0, null, null];
    const types = ["address", "address", "address", "int", "address", "address"] as const;
    await this.#call("nvrtcCreateProgram", types, made);
    try {
      const texts = options.map(cString);
      const list = addresses(texts.length);
      for (const [index, option] of texts.entries()) list[index] = this.#ort.address(option);
      const code = await this.#ort.callForeignAsync(
        this.#library,
        "nvrtcCompileProgram",
        ["address", "int", "address"],
        [program[0]!, texts.length, list],
      );
      // The options had to stay alive until here.
      if (code !== 0 || texts.length !== options.length) {
        const log = await this.#log(program[0]!);
        throw new CompilerError(
          code === INVALID_OPTION
            ? `CUDA's compiler ${this.#library} is older than this card (${options[0]}: ${log}). Install a newer one.`
            : `A kernel does not compile: ${log}`,
        );
      }
      return await this.#bytes(program[0]!, "nvrtcGetCUBINSize", "nvrtcGetCUBIN");
    } finally {
      await this.#call("nvrtcDestroyProgram", ["address"], [program]);
    }
  }

  async #log(program: Handle): Promise<string> {
    const bytes = await this.#bytes(program, "nvrtcGetProgramLogSize", "nvrtcGetProgramLog");
    return Buffer.from(bytes).toString("utf8").replace(/\0.*$/s, "").trim();
  }

  async #bytes(program: Handle, size: string, get: string): Promise<Uint8Array<ArrayBuffer>> {
    const length = addresses(1);
    await this.#call(size, ["address", "address"], [program, length]);
    const bytes = offHeap(new Uint8Array(Number(length[0])));
    await this.#call(get, ["address", "address"], [program, bytes]);
    return bytes;
  }

  /** @throws CompilerError unless it returns 0 */
  async #call(name: string, types: Types, args: Arguments): Promise<void> {
    const code = await this.#ort.callForeignAsync(this.#library, name, types, args);
    if (code !== 0) {
      throw new CompilerError(`${name} of ${this.#library} failed with error ${code}.`);
    }
  }
}

function cString(text: string): Uint8Array<ArrayBuffer> {
  return offHeap(Uint8Array.from(Buffer.from(`${text}\0`)));
}
