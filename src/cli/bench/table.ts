// A benchmark's report as a table in Markdown.

import type { BenchReport } from "./bench-report.ts";
import { short } from "./figure.ts";

/** One row for each figure; `!` marks those that varied by more than 30 %. */
export function table(report: BenchReport): string {
  const { cpu, cpus, memoryGib, model, precision, onnxRuntime, node, computePriority } = report;
  const priority = computePriority === "low" ? ", which give way to everything else" : "";
  const rows = report.figures.map(
    ({ label, unit, min, median, max, samples, noisy }) =>
      `| ${label} | ${short(min)} | ${short(median)}${noisy ? " !" : ""} | ${short(max)} | ${unit} | ${samples} |`,
  );
  const missing = report.missing.map(
    ({ id, reason }) => `| ${id} | | not available: ${reason} | | | |`,
  );
  return [
    `${model}, ${precision.decoder} (vision ${precision.vision}); ${cpu}, ${cpus} threads${priority}, ${memoryGib.toFixed(0)} GiB; ` +
      `ONNX Runtime ${onnxRuntime}, Node ${node}`,
    "",
    "| | min | median | max | unit | samples |",
    "|---|---|---|---|---|---|",
    ...rows,
    ...missing,
    "",
    "`!`: minimum and maximum are more than 30 % of the median apart.",
    "",
  ].join("\n");
}
