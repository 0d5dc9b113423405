// A benchmark's report as files: JSON for programs, a table in Markdown, charts as SVG and PNG.
// In: figures. Out: the paths that were written.

import { mkdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { renderSvg } from "../../vlm/image/decode-image.ts";
import type { BenchReport } from "./bench-report.ts";
import { chartSvg } from "./chart.ts";
import { table } from "./table.ts";

export async function writeReport(report: BenchReport, dir: string): Promise<string[]> {
  await mkdir(dir, { recursive: true });
  const svg = chartSvg(report);
  const files: readonly (readonly [string, string | Uint8Array])[] = [
    ["json", `${JSON.stringify(report, undefined, 2)}\n`],
    ["md", table(report)],
    ["svg", svg],
    ["png", await renderSvg(svg)],
  ];
  const paths: string[] = [];
  for (const [extension, content] of files) {
    const path = join(dir, `${report.model}-${report.precision.decoder}.${extension}`);
    await writeFile(path, content);
    paths.push(path);
  }
  return paths;
}
