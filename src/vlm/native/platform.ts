// What of this machine decides whether a native library loads: C library, processor, the program that runs JavaScript.
// Out: plain facts, each read when asked for. It judges nothing; diagnosis.ts does.

import { existsSync, readFileSync } from "node:fs";
import { basename, dirname, join } from "node:path";

/** The program that runs this code. */
export type Host = "node" | "bun" | "deno" | "electron";

export interface PlatformFacts {
  readonly platform: string;
  readonly arch: string;
  readonly host: Host;
  /** Linux without glibc; Alpine, for one. */
  readonly musl: boolean;
  /** Version of glibc, such as "2.36"; undefined where there is none. */
  readonly glibc: string | undefined;
  /** Linux x64 only, where the processor is known: x86-64-v2 instructions that it lacks. */
  readonly lacksV2: readonly string[];
  /** Windows only: files of the Visual C++ runtime that the system directory lacks. */
  readonly lacksVisualC: readonly string[];
  /** Each ONNX Runtime that is loaded into this process already. */
  readonly onnxRuntimes: readonly LoadedLibrary[];
  /** JavaScript and native files are packed into one executable. */
  readonly packed: boolean;
}

export interface LoadedLibrary {
  readonly path: string;
  /** Of the package that it lies in, as far as one says so. */
  readonly version: string | undefined;
}

export function readPlatform(): PlatformFacts {
  const { platform, arch } = process;
  const glibc = platform === "linux" ? glibcVersion() : undefined;
  const host = readHost();
  return {
    platform,
    arch,
    host,
    musl: platform === "linux" && host === "node" && glibc === undefined,
    glibc,
    lacksV2: platform === "linux" && arch === "x64" ? missingV2() : [],
    lacksVisualC: platform === "win32" ? missingVisualC() : [],
    onnxRuntimes: loadedLibraries("onnxruntime"),
    packed: isPacked(),
  };
}

export function readHost(): Host {
  if (process.versions.bun !== undefined) return "bun";
  if ("Deno" in globalThis) return "deno";
  return process.versions.electron === undefined ? "node" : "electron";
}

interface NodeReport {
  readonly header?: { readonly glibcVersionRuntime?: string };
  readonly sharedObjects?: readonly string[];
}

/** Node's own report knows the C library and what is loaded; without the network part it takes a millisecond. */
function nodeReport(): NodeReport {
  const { report } = process;
  if (report === undefined) return {};
  const excluded = report as typeof report & { excludeNetwork?: boolean };
  const before = excluded.excludeNetwork;
  excluded.excludeNetwork = true;
  try {
    return report.getReport() as NodeReport;
  } catch {
    return {};
  } finally {
    if (before !== undefined) excluded.excludeNetwork = before;
  }
}

function glibcVersion(): string | undefined {
  return nodeReport().header?.glibcVersionRuntime;
}

/** Libraries with this in their file name that are loaded into the process; bindings of Node are none. */
export function loadedLibraries(name: string): LoadedLibrary[] {
  const loaded = new Set(nodeReport().sharedObjects);
  const matching = [...loaded].filter(
    (path) => basename(path).toLowerCase().includes(name) && !path.endsWith(".node"),
  );
  return matching.map((path) => ({ path, version: versionOf(path) }));
}

/** Of the nearest package around a file. */
function versionOf(path: string): string | undefined {
  for (let dir = dirname(path); dir !== dirname(dir); dir = dirname(dir)) {
    try {
      const { version } = JSON.parse(readFileSync(join(dir, "package.json"), "utf8"));
      return typeof version === "string" ? version : undefined;
    } catch {
      // Not here: further up.
    }
  }
  return undefined;
}

/** By their names in /proc/cpuinfo; `pni` is SSE3. */
const V2_FLAGS = ["cx16", "lahf_lm", "popcnt", "pni", "sse4_1", "sse4_2", "ssse3"];

function missingV2(): string[] {
  try {
    const flags = /^flags\s*:(.*)$/m.exec(readFileSync("/proc/cpuinfo", "utf8"))?.[1];
    if (flags === undefined) return [];
    const has = new Set(flags.trim().split(/\s+/));
    return V2_FLAGS.filter((flag) => !has.has(flag));
  } catch {
    return []; // A container may hide it; then nothing is known.
  }
}

const VISUAL_C = ["vcruntime140.dll", "vcruntime140_1.dll", "msvcp140.dll"];

function missingVisualC(): string[] {
  const system = join(process.env.SystemRoot ?? "C:\\Windows", "System32");
  return VISUAL_C.filter((file) => !existsSync(join(system, file)));
}

/** `pkg` and its successors, or Node's single executable applications. */
function isPacked(): boolean {
  if ("pkg" in process) return true;
  return /[\\/](?:snapshot|\$bunfs)[\\/]/.test(import.meta.url);
}
