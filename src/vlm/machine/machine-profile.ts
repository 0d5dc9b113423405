// What this machine can do for a model, measured in about a second and kept beside the package: products by number format
// and rows, attention by the format of keys and values, and memory bandwidth. Out: a profile that other parts decide by. It
// decides nothing itself.

import { cpus } from "node:os";
import { join } from "node:path";
import { z } from "zod";
import { disk } from "../../disk.ts";
import { CACHE_FORMATS } from "../convert/cached-attention.ts";
import { CPU_PRECISIONS, type CpuPrecision } from "../convert/linear-layers.ts";
import { preferredInt8Weights, withCpuSettings } from "../engine/cpu-settings.ts";
import { defaultThreads } from "../runtime/cpu-threads.ts";
import { ORT_VERSION } from "../runtime/ort-library.ts";
import { type AttentionSpeed, loadAttention } from "./attention-speed.ts";
import { Noise } from "./noise.ts";
import { loadProducts, PRODUCT_BYTES, type ProductSpeed } from "./product-speed.ts";

export interface MachineProfile {
  /** What the operating system calls the processor. */
  readonly cpu: string;
  /** Threads that were used; 0: as many as ONNX Runtime counts cores. */
  readonly threads: number;
  readonly onnxRuntime: string;
  /** By number format, then by rows. */
  readonly products: readonly ProductSpeed[];
  /** By number format of keys and values. */
  readonly attention: readonly AttentionSpeed[];
  /** Bytes that can be read from memory, in 10^9 a second. */
  readonly gigaBytes: number;
}

const MACHINE_FILE = "machine.json";
/** Changes when older measurements mean something else. */
const MEASUREMENT = 2;

const MEASURED_PRODUCTS = ["w8a8", "q4", "fp32"] as const;
/** The largest tensor, and some more: others begin elsewhere in it. */
const NOISE_BYTES = PRODUCT_BYTES + 2 ** 22;
/** Those that may be the faster ones: fp16 was slower than both wherever it was measured. */
const MEASURED_CACHES = ["fp32", "int8"] as const;

const positive = z.number().positive();
const FILE_SCHEMA = z.object({
  measurement: z.literal(MEASUREMENT),
  cpu: z.string(),
  threads: z.number(),
  onnxRuntime: z.string(),
  products: z
    .array(
      z.object({
        precision: z.enum(CPU_PRECISIONS),
        rows: positive,
        gigaOps: positive,
        gigaBytes: positive,
      }),
    )
    .min(CPU_PRECISIONS.length),
  attention: z.array(
    z.object({
      cache: z.enum(CACHE_FORMATS),
      context: positive,
      stepMs: positive,
      chunkMs: positive,
    }),
  ),
  gigaBytes: positive,
});

export interface MachineOptions {
  /** @default the physical cores this process may use */
  readonly threads?: number | undefined;
  readonly signal?: AbortSignal | undefined;
}

const measured = new Map<number, Promise<MachineProfile>>();

/**
 * The profile of this machine: the one kept in a directory if it is of this processor, else measured, once in a process.
 *
 * @param dir where it is kept; a directory that cannot be written to keeps none
 */
export async function machineProfile(
  dir: string,
  { threads = defaultThreads(), signal }: MachineOptions = {},
): Promise<MachineProfile> {
  const path = join(dir, MACHINE_FILE);
  const kept = await readProfile(path);
  if (kept !== undefined && isOfThisMachine(kept, threads)) return kept;
  let measuring = measured.get(threads);
  if (measuring === undefined) {
    measuring = measureMachine({ threads });
    measured.set(threads, measuring);
    measuring.catch(() => measured.delete(threads)); // a later load tries again
  }
  const profile = await measuring;
  signal?.throwIfAborted();
  await keepProfile(path, profile);
  return profile;
}

/** Measures now, whatever was measured before: everything is made ready first, and then runs alone. */
export async function measureMachine({
  threads = defaultThreads(),
}: Pick<MachineOptions, "threads"> = {}): Promise<MachineProfile> {
  const int8Weights = await preferredInt8Weights();
  const settings = await withCpuSettings({ threads }, int8Weights);
  const noise = await Noise.make(NOISE_BYTES);
  const products = MEASURED_PRODUCTS.map((precision) =>
    loadProducts(precision, { ...settings, int8Weights, noise }),
  );
  const attention = MEASURED_CACHES.map((cache) => loadAttention(cache, { threads }));
  const loading = Promise.allSettled([...products, ...attention]);
  try {
    await loading;
    const speeds: ProductSpeed[] = [];
    for (const loaded of products) speeds.push(...(await (await loaded).measure(noise)));
    const lookups: AttentionSpeed[] = [];
    for (const loaded of attention) lookups.push(await (await loaded).measure(noise));
    return {
      cpu: processorName(),
      threads,
      onnxRuntime: ORT_VERSION,
      products: speeds,
      attention: lookups,
      gigaBytes: Math.max(...speeds.map(({ gigaBytes }) => gigaBytes)),
    };
  } finally {
    const outcomes = await loading;
    await Promise.all(outcomes.map((one) => one.status === "fulfilled" && one.value.dispose()));
    noise.dispose();
  }
}

/** The most operations a second with many rows, in 10^9. */
export function manyRowsSpeed({ products }: MachineProfile, precision: CpuPrecision): number {
  return Math.max(...ofPrecision(products, precision).map(({ gigaOps }) => gigaOps));
}

/** Bytes of weights a second with one row, in 10^9: what a decode step of one chat goes by. */
export function oneRowSpeed({ products }: MachineProfile, precision: CpuPrecision): number {
  const [first] = ofPrecision(products, precision).toSorted((a, b) => a.rows - b.rows);
  return first?.gigaBytes ?? 0;
}

function ofPrecision(products: readonly ProductSpeed[], precision: CpuPrecision): ProductSpeed[] {
  return products.filter((product) => product.precision === precision);
}

function processorName(): string {
  return cpus()[0]?.model.trim() || process.arch;
}

function isOfThisMachine({ cpu, threads, onnxRuntime }: MachineProfile, wanted: number): boolean {
  return cpu === processorName() && threads === wanted && onnxRuntime === ORT_VERSION;
}

/** Undefined where there is none, or one that makes no sense: then it is measured again. */
async function readProfile(path: string): Promise<MachineProfile | undefined> {
  try {
    return FILE_SCHEMA.parse(JSON.parse(await disk.readText(path)));
  } catch {
    return undefined;
  }
}

async function keepProfile(path: string, profile: MachineProfile): Promise<void> {
  try {
    const text = JSON.stringify({ measurement: MEASUREMENT, ...profile }, undefined, 2);
    await disk.replaceFile(path, `${text}\n`, { durable: false });
  } catch {
    // A read-only disk: it is measured again at the next start.
  }
}
