// What this processor can do for a neural network. In: what the operating system tells. Out: names such as AVX2.

import { execFileSync } from "node:child_process";
import { readFileSync } from "node:fs";
import { arch, platform } from "node:os";

/** What each instruction set is called by Linux (x64, arm64) and by macOS. */
const FEATURES: readonly { readonly name: string; readonly flags: readonly string[] }[] = [
  { name: "AVX2", flags: ["avx2"] },
  { name: "AVX-512", flags: ["avx512f"] },
  { name: "VNNI", flags: ["avx512_vnni", "avx_vnni"] },
  { name: "AMX", flags: ["amx_int8"] },
  { name: "NEON", flags: ["asimd", "hw.optional.neon: 1", "hw.optional.advsimd: 1"] },
  { name: "DotProd", flags: ["asimddp", "hw.optional.arm.feat_dotprod: 1"] },
  { name: "I8MM", flags: ["i8mm", "hw.optional.arm.feat_i8mm: 1"] },
  { name: "SME", flags: ["sme", "hw.optional.arm.feat_sme: 1"] },
];

export interface CpuFeatures {
  readonly names: readonly string[];
  /** False where the operating system does not tell, as on Windows. */
  readonly known: boolean;
}

export function readCpuFeatures(): CpuFeatures {
  try {
    if (platform() === "linux") return fromCpuInfo(readFileSync("/proc/cpuinfo", "utf8"));
    if (platform() === "darwin") return fromSysctl(execFileSync("sysctl", ["-a"], SYSCTL));
  } catch {
    // A container may hide these; then nothing is known.
  }
  return { names: arch() === "arm64" ? ["NEON"] : [], known: false };
}

const SYSCTL = { encoding: "utf8", timeout: 5_000, maxBuffer: 16 * 1024 * 1024 } as const;

/** From the first `flags` (x64) or `Features` (arm64) line of /proc/cpuinfo. */
export function fromCpuInfo(text: string): CpuFeatures {
  const line = /^(?:flags|Features)\s*:(.*)$/m.exec(text)?.[1];
  if (line === undefined) return { names: [], known: false };
  return named(new Set(line.trim().split(/\s+/)));
}

/** From `sysctl -a`: lists of flags on Intel, one line for each on Apple's own processors. */
export function fromSysctl(text: string): CpuFeatures {
  const lower = text.toLowerCase();
  const lists = [...lower.matchAll(/^machdep\.cpu\.\w*features:(.*)$/gm)];
  const flags = lists.flatMap(([, list = ""]) => list.trim().split(/\s+/));
  const lines = lower.split("\n").map((line) => line.trim());
  return named(new Set([...flags, ...lines]));
}

function named(flags: ReadonlySet<string>): CpuFeatures {
  const found = FEATURES.filter((feature) => feature.flags.some((flag) => flags.has(flag)));
  return { names: found.map(({ name }) => name), known: true };
}
