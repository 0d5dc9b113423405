// What the machine could do at best, measured in the same run, and which part of it the engine reached.
// In: figures and the sizes of the package. Out: more figures. It runs no model.

import type { Qwen3VlConfig } from "../../vlm/checkpoint/config.ts";
import type { PackageManifest } from "../../vlm/convert/manifest.ts";
import type { ProductSpeed } from "../../vlm/machine/product-speed.ts";
import type { BenchRun } from "./bench-run.ts";
import type { Figure } from "./figure.ts";

const KV_BYTES = 4;

export function addRooflines(
  run: BenchRun,
  speeds: readonly ProductSpeed[],
  { manifest, config }: { manifest: PackageManifest; config: Qwen3VlConfig },
): void {
  const { decoder } = manifest.precision;
  const bandwidth = Math.max(...speeds.map(({ gigaBytes }) => gigaBytes));
  run.add(roof("bandwidth", "memory bandwidth", "GB/s"), [bandwidth]);
  for (const precision of ["fp32", "w8a8", "q4"] as const) {
    const best = bestOf(speeds, precision);
    run.add(roof(precision, `products in ${precision}`, "Gop/s"), [best]);
  }
  const weightBytes = sizeOf(manifest, manifest.decoder.dataFile);
  const { layers, kvHeads, headSize } = config.text;
  for (const tokens of [128, 1024, 4096]) {
    const measured = medianOf(run, `decode.context-${tokens}`);
    if (measured === undefined) continue;
    const read = weightBytes + tokens * 2 * layers * kvHeads * headSize * KV_BYTES;
    const reached = (measured * read) / 1e9 / bandwidth;
    run.add(share(`decode.context-${tokens}`, `decode at ${tokens}, of the bandwidth`), [
      100 * reached,
    ]);
  }
  const prefill = medianOf(run, "prefill.512");
  if (prefill !== undefined) {
    const operations = 2 * layerWeights(config) * prefill;
    run.add(share("prefill.512", `prefill 512, of the products in ${decoder}`), [
      (100 * operations) / 1e9 / bestOf(speeds, decoder),
    ]);
  }
}

/** Weights of the layers, which every token of a prompt is multiplied with. */
function layerWeights({ text }: Qwen3VlConfig): number {
  const { hiddenSize, intermediateSize, heads, kvHeads, headSize, layers } = text;
  const attention = 2 * hiddenSize * heads * headSize + 2 * hiddenSize * kvHeads * headSize;
  return layers * (attention + 3 * hiddenSize * intermediateSize);
}

function bestOf(speeds: readonly ProductSpeed[], precision: string): number {
  const own = speeds.filter((speed) => speed.precision === precision);
  return Math.max(...own.map(({ gigaOps }) => gigaOps));
}

function medianOf(run: BenchRun, id: string): number | undefined {
  return run.figures.find((figure) => figure.id === id)?.median;
}

function sizeOf({ outputs }: PackageManifest, file: string): number {
  return outputs.find((output) => output.file === file)?.bytes ?? 0;
}

function roof(id: string, label: string, unit: string): Omit<Figure, SampleFields> {
  return { id: `roofline.${id}`, label: `roofline: ${label}`, unit, better: "more" };
}

function share(id: string, label: string): Omit<Figure, SampleFields> {
  return { id: `reached.${id}`, label: `reached: ${label}`, unit: "%", better: "more" };
}

type SampleFields = "min" | "median" | "max" | "samples" | "noisy";
