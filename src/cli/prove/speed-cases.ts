// Which models of noise are measured on a device, and what of it the machine has room for. In: a device, sizes in bytes. Out:
// cases, and for each how many chats fit, or why it is left out.

import { statfs } from "node:fs/promises";
import { parseConfig } from "../../vlm/checkpoint/config.ts";
import {
  DECODER_PRECISIONS,
  defaultVisionPrecision,
  type PackagePrecision,
  packageGraphs,
} from "../../vlm/convert/package-graphs.ts";
import { estimateMemory } from "../../vlm/machine/memory-estimate.ts";
import { CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import { type Device, type DeviceKind, deviceKind, openDevice } from "../../vlm/runtime/device.ts";
import { freeMemory } from "../../vlm/runtime/free-memory.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { configOf } from "../bench/shapes.ts";

/** How steps of answers are computed: operator by operator, those recorded, or kernels of our own where there are any. */
export type Steps = "operators" | "recorded" | "kernels";

export interface SpeedCase {
  readonly shape: ShapeName;
  readonly precision: PackagePrecision;
  readonly steps: Steps;
}

/** Chats that answer at once. */
const BATCHES = [1, 8, 32];

const CARD_CASES: readonly (readonly [ShapeName, PackagePrecision["decoder"], Steps])[] = [
  ["2b", "q4f16", "operators"],
  ["2b", "q4f16", "recorded"],
  ["2b", "q4f16", "kernels"],
  ["2b", "fp16", "operators"],
  ["2b", "fp16", "recorded"],
  ["4b", "q4f16", "operators"],
  ["4b", "q4f16", "kernels"],
  ["8b", "q4f16", "operators"],
  ["8b", "q4f16", "kernels"],
  ["8b", "fp16", "operators"],
];

/** @param size of the models; undefined: those that the device can be expected to bear */
export function speedCases(
  device: Device,
  size: ShapeName | undefined,
  software: boolean,
): readonly SpeedCase[] {
  const kind = deviceKind(device);
  const inFull = (decoder: PackagePrecision["decoder"]) => ({
    decoder,
    vision: defaultVisionPrecision(decoder, kind),
  });
  if (kind === "cuda") {
    const chosen = CARD_CASES.filter(([shape]) => size === undefined || shape === "2b");
    return chosen.map(([shape, decoder, steps]) => ({
      shape: size ?? shape,
      precision: inFull(decoder),
      steps,
    }));
  }
  const precision = inFull(DECODER_PRECISIONS[kind][0]!);
  // Through a software driver a 2B would take hours, and say nothing about any card.
  const plain: readonly ShapeName[] = software ? ["nano"] : ["2b", "4b", "8b"];
  const shapes = size === undefined ? plain : [size];
  return shapes.map((shape) => ({ shape, precision, steps: "operators" }));
}

/** Bytes of a package, before it is written. */
export interface PackageBytes {
  readonly vision: number;
  readonly decoder: number;
}

export function packageBytes({ shape, precision }: SpeedCase, kind: DeviceKind): PackageBytes {
  const config = parseConfig(configOf(shape), shape);
  const { vision, decoder } = packageGraphs(config, precision, kind, { int8Weights: "s8" });
  return {
    vision: vision.model.externalByteLength,
    decoder: decoder.model.externalByteLength,
  };
}

/** Free bytes where a model would be written, and where it would lie. */
export interface Room {
  disk: number;
  readonly memory: number;
}

export async function roomOf(device: Device, directory: string): Promise<Room> {
  const { bavail, bsize } = await statfs(directory);
  const open = await openDevice(device);
  if (!(open instanceof CudaDevice)) return { disk: bavail * bsize, memory: freeMemory() };
  return { disk: bavail * bsize, memory: open.budgets.roomOf((await open.memory()).free) };
}

/** How many chats may answer at once with so many tokens each, or why nothing is measured at all. */
export function batchesThatFit(
  one: SpeedCase,
  kind: DeviceKind,
  room: Room,
  contextTokens: number,
): readonly number[] | string {
  const { vision, decoder } = packageBytes(one, kind);
  const bytes = vision + decoder;
  const config = parseConfig(configOf(one.shape), one.shape);
  const { layers, kvHeads, headSize } = config.text;
  if (bytes > room.disk) return lacks("disk", bytes, room.disk);
  const context = 2 * layers * kvHeads * headSize * (kind === "cuda" ? 2 : 4) * contextTokens;
  // The memory of another card is not told, but whatever is loaded goes through that of the machine.
  const demand = { config, weightBytes: bytes, imageTokens: 512, cacheBytes: 0 };
  const least =
    kind === "cuda" ? bytes + context : estimateMemory({ ...demand, contextTokens }).total;
  if (least > room.memory) return lacks("memory", least, room.memory);
  const others = Math.floor((room.memory - least) / context);
  return BATCHES.filter((chats) => chats <= 1 + others);
}

export function batchesLeftOut(batches: readonly number[]): readonly number[] {
  return BATCHES.filter((chats) => !batches.includes(chats));
}

function lacks(what: "disk" | "memory", needed: number, free: number): string {
  const gigabytes = (bytes: number) => (bytes / 1e9).toFixed(1);
  const zh = what === "disk" ? "磁盘" : "内存";
  return `需要 ${gigabytes(needed)} GB ${zh}，只有 ${gigabytes(free)} GB · ${gigabytes(needed)} GB of ${what} are needed, ${gigabytes(free)} are free`;
}
