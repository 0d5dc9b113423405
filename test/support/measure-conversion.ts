// Not a test: converts a synthetic checkpoint of the 2B's size (4.3 GB) and prints time and peak memory.
// Node >= 22.18 runs it as it is, older versions after bundling it with esbuild:
//   node test/support/measure-conversion.ts DIRECTORY w8a8 [s8 | u8] [keep]
// DIRECTORY needs room for 4.3 GB and the package; the checkpoint is kept for the next run, the package with `keep`.

import { existsSync } from "node:fs";
import { rm } from "node:fs/promises";
import { join } from "node:path";
import { convertCheckpoint } from "../../src/vlm/convert/convert.ts";
import type { Int8Weights, Precision } from "../../src/vlm/convert/linear-layers.ts";
import { CONFIG_2B, syntheticCheckpoint } from "./synthetic-checkpoint.ts";

const [dir = "", precision = "w8a8", int8Weights = "s8", keep] = process.argv.slice(2);
const checkpointDir = join(dir, "synthetic-2b");
const outputDir = join(dir, `synthetic-2b-${precision}`);
if (!existsSync(join(checkpointDir, "model.safetensors"))) {
  await syntheticCheckpoint(checkpointDir, { config: CONFIG_2B });
  process.stdout.write("checkpoint written; run again to measure the conversion alone\n");
} else {
  const start = performance.now();
  let longestGapMs = 0;
  let last = start;
  const timer = setInterval(() => {
    longestGapMs = Math.max(longestGapMs, performance.now() - last);
    last = performance.now();
  }, 1);
  await convertCheckpoint({
    checkpointDir,
    outputDir,
    precision: precision as Precision,
    int8Weights: int8Weights as Int8Weights,
  });
  clearInterval(timer);
  const seconds = (performance.now() - start) / 1000;
  const peak = process.resourceUsage().maxRSS / 1024;
  process.stdout.write(
    `${precision}: ${seconds.toFixed(1)} s, peak RSS ${peak.toFixed(0)} MiB, longest event-loop gap ${longestGapMs.toFixed(0)} ms\n`,
  );
  if (keep !== "keep") await rm(outputDir, { recursive: true });
}
