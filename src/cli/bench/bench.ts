// `napcat-vlm bench`: how fast this machine is, in one run. In: a size and a number format. Out: a table on the
// terminal, and JSON, SVG and PNG files. The model is random and made on the spot; nothing is downloaded.

import { mkdir, open, readFile, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, totalmem } from "node:os";
import { join, resolve } from "node:path";
import { packageVersion } from "../../package-root.ts";
import { choosePrecision, ensurePackage } from "../../vlm/convert/ensure-package.ts";
import { openPackage } from "../../vlm/engine/onnx-package.ts";
import { findForeignFiles } from "../../vlm/foreign/foreign-files.ts";
import { loadQwen3Vl, ORT_VERSION, preferredInt8Weights } from "../../vlm/index.ts";
import { measureMachine } from "../../vlm/machine/machine-profile.ts";
import { precisionForCheckpoint } from "../../vlm/machine/precision-choice.ts";
import { parseRemoteAddress } from "../../vlm/remote/remote-address.ts";
import type { ComputePriority } from "../../vlm/runtime/compute-priority.ts";
import { showProgress } from "../progress.ts";
import { print } from "../terminal.ts";
import { UsageError } from "../usage-error.ts";
import { benchDirectory } from "./bench-directory.ts";
import type { BenchReport } from "./bench-report.ts";
import { BenchRun } from "./bench-run.ts";
import { watchEventLoop } from "./event-loop-gaps.ts";
import { ensureRandomCheckpoint } from "./random-checkpoint.ts";
import { writeReport } from "./report.ts";
import { addRooflines } from "./rooflines.ts";
import {
  CONTEXT_TOKENS,
  MAX_CHATS,
  MAX_IMAGE_TOKENS,
  measureChats,
  measureDecode,
  measureFairness,
  measurePrefill,
  measureReuse,
  measureVision,
  measureWarm,
} from "./scenarios.ts";
import type { ShapeName } from "./shape-names.ts";

export interface BenchCommand {
  readonly size: ShapeName;
  /** A checkpoint of one's own instead of a random one. */
  readonly model: string | undefined;
  readonly precision: "fp32" | "w8a8" | "q4" | undefined;
  readonly threads: number | undefined;
  readonly computePriority: ComputePriority;
  /** Where the report goes. */
  readonly out: string | undefined;
}

/** Time for the samples of one figure. */
const BUDGET_MS: Readonly<Record<ShapeName, number>> = {
  nano: 4_000,
  mini: 4_000,
  "2b": 25_000,
  "4b": 60_000,
  "8b": 60_000,
};

/** @throws UsageError where the model is none that is loaded and converted here */
export async function bench(command: BenchCommand, signal: AbortSignal): Promise<void> {
  const { size } = command;
  await expectOurs(command.model);
  const root = benchDirectory();
  await mkdir(root, { recursive: true });
  const checkpoint = command.model ?? join(root, size);
  if (command.model === undefined) {
    print(`准备随机模型 random checkpoint of ${size}: ${checkpoint}`);
    await ensureRandomCheckpoint(checkpoint, size, signal);
  }
  const { packageDir, seconds } = await converted(checkpoint, command, signal);
  const readSeconds = await readOnce(packageDir);

  print("加载模型 loading");
  const before = process.memoryUsage.rss();
  const started = performance.now();
  const loaded = await watchEventLoop(() =>
    loadQwen3Vl({
      model: packageDir,
      maxContextTokens: CONTEXT_TOKENS,
      maxImageTokens: MAX_IMAGE_TOKENS,
      maxConcurrent: MAX_CHATS,
      signal,
      onWarning: () => {},
      computePriority: command.computePriority,
      ...(command.threads === undefined ? {} : { threads: command.threads }),
    }),
  );
  const loadSeconds = (performance.now() - started) / 1000;
  await using model = loaded.result;
  const run = new BenchRun({ model, budgetMs: BUDGET_MS[size], signal });
  const onnxPackage = await openPackage(packageDir);
  const packageBytes = onnxPackage.manifest.outputs.reduce((sum, { bytes }) => sum + bytes, 0);
  const gib = (bytes: number) => bytes / 2 ** 30;
  run.noteGaps("load", loaded.gaps);
  run.peakRss = loaded.peakRss;
  if (seconds !== undefined) run.add(lower("conversion", "conversion", "s"), [seconds]);
  run.add(lower("load", "load", "s"), [loadSeconds]);
  run.add(lower("load.read", "reading the package once", "s"), [readSeconds]);
  run.add(lower("memory.package", "package", "GiB"), [gib(packageBytes)]);
  run.add(lower("memory.loaded", "memory after loading", "GiB"), [
    gib(process.memoryUsage.rss() - before),
  ]);
  run.add(lower("memory.load-peak", "highest memory while loading", "GiB"), [
    gib(loaded.peakRss - before),
  ]);

  await run.ask("first-request", [run.chat.user(8)], 4); // what only the first request pays
  await measureVision(run);
  await measureReuse(run);
  await measureWarm(run);
  await measurePrefill(run);
  await measureChats(run);
  await measureFairness(run);
  await measureDecode(run);
  run.add(lower("memory.peak", "highest memory of all", "GiB"), [gib(run.peakRss - before)]);
  print("测量机器 measuring the machine");
  const machine = await measureMachine({ threads: command.threads });
  addRooflines(run, machine.products, onnxPackage);
  for (const [kind, { longestMs, longestOwnMs }] of run.gaps) {
    const label = `longest gap of the event loop: ${kind}`;
    run.add(lower(`gap.${kind}`, label, "ms"), [longestMs]);
    if (longestOwnMs === undefined) continue;
    run.add(lower(`gap-computing.${kind}`, `${label}, without waiting for a core`, "ms"), [
      longestOwnMs,
    ]);
  }
  const report: BenchReport = {
    version: packageVersion(),
    onnxRuntime: ORT_VERSION,
    node: process.version,
    cpu: cpus()[0]?.model.trim() ?? process.arch,
    cpus: availableParallelism(),
    memoryGib: gib(totalmem()),
    computePriority: command.computePriority,
    model: command.model === undefined ? size : "own",
    precision: onnxPackage.manifest.precision,
    figures: run.figures,
    missing: run.missing,
  };
  const out = resolve(command.out ?? join(root, "results"));
  const files = await writeReport(report, out);
  for (const file of files) print(file);
}

function lower(id: string, label: string, unit: string) {
  return { id, label, unit, better: "less" } as const;
}

/** The package, and how long making it took: measured when it was made, now or in an earlier run. */
async function converted(
  checkpoint: string,
  command: BenchCommand,
  signal: AbortSignal,
): Promise<{ packageDir: string; seconds: number | undefined }> {
  const { decoder } = choosePrecision(
    command.precision ?? (await precisionForCheckpoint(checkpoint, { signal })),
  );
  const record = join(benchDirectory(), `${command.size}-${decoder}.conversion.json`);
  const progress = showProgress();
  let converting = false;
  const start = performance.now();
  const packageDir = await ensurePackage({
    model: checkpoint,
    precision: decoder,
    int8Weights: await preferredInt8Weights(),
    signal,
    onProgress: ({ doneBytes, totalBytes }) => {
      converting = true;
      progress.show({ type: "convert", done: doneBytes, total: totalBytes });
    },
  }).finally(() => progress.end());
  if (command.model !== undefined) return { packageDir, seconds: undefined };
  if (converting) {
    const seconds = (performance.now() - start) / 1000;
    await writeFile(record, JSON.stringify({ seconds }));
  }
  const text = await readFile(record, "utf8").catch(() => undefined);
  const seconds = text === undefined ? undefined : Number(JSON.parse(text).seconds);
  return { packageDir, seconds };
}

/** How long reading every byte of the package takes, which no load can go below. */
async function readOnce(packageDir: string): Promise<number> {
  const { manifest } = await openPackage(packageDir);
  const buffer = new Uint8Array(2 ** 23);
  const start = performance.now();
  for (const { file } of manifest.outputs) {
    const handle = await open(join(packageDir, file));
    try {
      while ((await handle.read(buffer)).bytesRead > 0);
    } finally {
      await handle.close();
    }
  }
  return (performance.now() - start) / 1000;
}

/** What is measured is this engine with a package of its own. */
async function expectOurs(model: string | undefined): Promise<void> {
  if (model === undefined) return;
  const isElsewhere = parseRemoteAddress(model) !== undefined;
  if (!isElsewhere && (await findForeignFiles(model)) === undefined) return;
  const what = isElsewhere ? "runs elsewhere" : "was made by another program";
  throw new UsageError(
    `\`bench\` measures checkpoints of safetensors in this process; this model ${what}.`,
  );
}
