// How far a conversion is that outlives its process. In: steps as they are taken. Out: a small file that is always whole,
// from which another process goes on. What it says is on disk was made durable before. Knows no weights.

import { join } from "node:path";
import { z } from "zod";
import { disk } from "../../disk.ts";
import type { LayerChoice } from "./balance-inputs.ts";
import { CPU_PRECISIONS } from "./linear-layers.ts";

const PRECISION = z.enum(CPU_PRECISIONS);
const LAYER = z.object({
  name: z.string(),
  precision: PRECISION,
  error: z.number(),
  plainError: z.number(),
  moved: z.number(),
});
const TRACK = z.object({
  /** Taken so far. */
  steps: z.int().min(0),
  /** Of the file it writes: what is durable, and its hash. */
  bytes: z.int().min(0),
  sha256: z.string(),
  layers: z.array(LAYER),
});
const MARK = z.object({
  formatVersion: z.literal(1),
  /** By part. */
  tracks: z.record(z.string(), TRACK),
  wider: z.array(z.tuple([z.string(), PRECISION])),
  /** Of the run that measures, behind the last layer: f32, little-endian, in base64. */
  run: z.string().optional(),
});

export type TrackMark = z.infer<typeof TRACK> & { readonly layers: readonly LayerChoice[] };
export type ConversionMark = z.infer<typeof MARK>;

const MARK_FILE = "mark.json";

/** @returns undefined where there is none; a damaged one counts as none */
export async function readMark(dir: string): Promise<ConversionMark | undefined> {
  try {
    return MARK.parse(JSON.parse(await disk.readText(join(dir, MARK_FILE))));
  } catch {
    return undefined;
  }
}

export async function writeMark(dir: string, mark: ConversionMark): Promise<void> {
  await disk.replaceFile(join(dir, MARK_FILE), JSON.stringify(mark));
}

/** What an earlier process left is not what it said; nothing of it can be used. */
export class DamagedWork extends Error {
  override readonly name = "DamagedWork";
}

export function floatsInBase64(values: Float32Array): string {
  return Buffer.from(values.buffer, values.byteOffset, values.byteLength).toString("base64");
}

export function floatsFromBase64(text: string): Float32Array<ArrayBuffer> {
  const bytes = Buffer.from(text, "base64");
  const copy = new Uint8Array(bytes.byteLength);
  copy.set(bytes);
  return new Float32Array(copy.buffer);
}
