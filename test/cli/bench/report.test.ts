import { readFile } from "node:fs/promises";
import sharp from "sharp";
import { describe, expect, it } from "vitest";
import type { BenchReport } from "../../../src/cli/bench/bench-report.ts";
import { figure } from "../../../src/cli/bench/figure.ts";
import { writeReport } from "../../../src/cli/bench/report.ts";
import { table } from "../../../src/cli/bench/table.ts";
import { tempDir } from "../../support/temp-dir.ts";

const speed = { id: "prefill.64", label: "prefill 64", unit: "tok/s", better: "more" } as const;
const gap = { id: "gap.load", label: "a < b & c", unit: "ms", better: "less" } as const;

const report: BenchReport = {
  version: "1.2.3",
  onnxRuntime: "1.30.0",
  node: "v20.19.0",
  cpu: "A <fast> CPU",
  cpus: 2,
  memoryGib: 23.4,
  computePriority: "normal",
  model: "mini",
  precision: { decoder: "w8a8", vision: "w8a8" },
  figures: [figure(speed, [100, 96, 110]), figure(gap, [1, 2, 4])],
  missing: [{ id: "first-word.warmed", reason: "the engine cannot be warmed" }],
};

describe("a figure", () => {
  it("is the median between minimum and maximum, of an even number of samples too", () => {
    expect(figure(speed, [3, 1, 2])).toMatchObject({ min: 1, median: 2, max: 3, samples: 3 });
    expect(figure(speed, [4, 1, 2, 3])).toMatchObject({ min: 1, median: 2.5, max: 4, samples: 4 });
  });

  it("is noisy when it varied by more than 30 % of its median", () => {
    expect(figure(speed, [100, 129]).noisy).toBe(false);
    expect(figure(speed, [100, 110, 131]).noisy).toBe(false);
    expect(figure(speed, [100, 101, 132]).noisy).toBe(true);
  });
});

describe("a report", () => {
  it("is a table that names the machine, marks noise and says what is missing", () => {
    const text = table(report);
    expect(text).toContain("A <fast> CPU, 2 threads, 23 GiB");
    expect(table({ ...report, computePriority: "low" })).toContain(
      "2 threads, which give way to everything else, 23 GiB",
    );
    expect(text).toContain("| prefill 64 | 96.0 | 100 | 110 | tok/s | 3 |");
    expect(text).toContain("| a < b & c | 1.00 | 2.00 ! | 4.00 | ms | 3 |");
    expect(text).toContain("not available: the engine cannot be warmed");
  });

  it("is written as JSON, Markdown and two charts", async () => {
    const dir = await tempDir();
    const paths = await writeReport(report, dir);
    expect(paths.map((path) => path.slice(dir.length + 1))).toEqual([
      "mini-w8a8.json",
      "mini-w8a8.md",
      "mini-w8a8.svg",
      "mini-w8a8.png",
    ]);
    expect(JSON.parse(await readFile(paths[0]!, "utf8"))).toEqual(report);
    expect(await readFile(paths[2]!, "utf8")).toContain("a &lt; b &amp; c");
    const { width, format } = await sharp(paths[3]).metadata();
    expect({ width, format }).toEqual({ width: 960, format: "png" });
  });
});
