// `napcat-vlm prove`: is this device right, robust and fast, on this machine? In: a device. Out: a report to show to
// others, and an exit code. Everything it needs ships with the package or is made on the spot.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { availableParallelism, cpus, tmpdir, totalmem } from "node:os";
import { join } from "node:path";
import { packageVersion } from "../../package-root.ts";
import { defaultVisionPrecision, type PackagePrecision } from "../../vlm/convert/package-graphs.ts";
import { missingFormat } from "../../vlm/engine/webgpu-half-floats.ts";
import { DeviceProofs } from "../../vlm/proof/device-proofs.ts";
import { goldenErrors } from "../../vlm/proof/golden-errors.ts";
import { GOLDEN_NAMES } from "../../vlm/proof/goldens.ts";
import {
  describeErrors,
  GOLDEN_TOLERANCES,
  type GoldenTolerance,
} from "../../vlm/proof/tolerances.ts";
import { openCuda } from "../../vlm/runtime/cuda-cards.ts";
import type { CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import { type Device, deviceKind, openDevice } from "../../vlm/runtime/device.ts";
import { loadOrt } from "../../vlm/runtime/ort.ts";
import { announcedDevice } from "../announced-device.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { print } from "../terminal.ts";
import { checkBehaviour } from "./behaviour-checks.ts";
import { type Check, Checks } from "./check.ts";
import { type CardRooflines, cardRooflines } from "./rooflines.ts";
import { proveSpeed, type SpeedReport } from "./speed-checks.ts";

export interface ProveCommand {
  /** "auto": the one that a model would take, which is told. */
  readonly device: Device | "auto";
  /** Where the report goes as JSON as well. */
  readonly json: string | undefined;
  /** Leaves out what needs large weights. */
  readonly quick: boolean;
  /** Of the models whose speed is measured, also by the short form. @default what the device can be expected to bear */
  readonly size?: ShapeName | undefined;
}

export interface ProofReport {
  readonly device: Device;
  readonly checks: readonly Check[];
  readonly speed: readonly SpeedReport[];
  readonly machine: Readonly<Record<string, unknown>>;
}

/** Resolves to the exit code: 0 when every check holds, and none was left to make when it was stopped. */
export async function prove(command: ProveCommand, signal: AbortSignal): Promise<number> {
  const device = await announcedDevice(command.device);
  const checks = new Checks(signal);
  const speed: SpeedReport[] = [];
  const machine: Record<string, unknown> = describeMachine();
  print(`napcat-vlm prove --device ${device}, ${new Date().toISOString()}`);
  const found = { checks, speed, machine };
  const stopped = await proveDevice(device, command, found, signal).then(
    () => false,
    (error: unknown) => {
      if (!signal.aborted) throw error;
      return true;
    },
  );
  print(JSON.stringify(machine));
  const proven = checks.ok && !stopped;
  if (proven) print("通过 · proven: every check holds");
  else if (stopped) print("未通过，被中止 · not proven: it was stopped before its end");
  else print("未通过 · not proven: see ✗ above");
  const report: ProofReport = { device, checks: checks.list, speed, machine };
  if (command.json !== undefined) {
    await writeFile(command.json, `${JSON.stringify(report, undefined, 2)}\n`);
  }
  return proven ? 0 : 1;
}

/** What is found goes into lists, so that a proof that is stopped has found something too. */
interface Findings {
  readonly checks: Checks;
  readonly speed: SpeedReport[];
  readonly machine: Record<string, unknown>;
}

async function proveDevice(
  device: Device,
  { quick, size }: ProveCommand,
  { checks, speed, machine }: Findings,
  signal: AbortSignal,
): Promise<void> {
  const started = performance.now();
  const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-prove-"));
  try {
    if (!(await checks.run("the device is there", () => openIt(device, machine)))) return;
    let questionMs = 0;
    for (const tolerance of GOLDEN_TOLERANCES[deviceKind(device)]) {
      const missing = await missingFormat(device, precisionOf(device, tolerance));
      if (missing !== undefined) {
        checks.leaveOut(`the device in ${tolerance.precision}`, missing);
        continue;
      }
      await proveGoldens(device, tolerance, { checks, directory, signal });
      const { precision } = tolerance;
      const found = await checkBehaviour({ checks, device, precision, directory, quick, signal });
      questionMs = Math.max(questionMs, found ?? 0);
    }
    if (quick && size === undefined) return;
    const rooflines = await measureRooflines(device);
    if (rooflines) machine.rooflines = rooflines;
    const elapsedMs = performance.now() - started;
    const measured = { size, rooflines, questionMs, elapsedMs, speed };
    await proveSpeed({ checks, device, directory, signal, ...measured });
  } finally {
    await rm(directory, { recursive: true, force: true });
  }
}

async function openIt(device: Device, machine: Record<string, unknown>) {
  const kind = deviceKind(device);
  if (kind !== "cuda") {
    await openDevice(device);
    return { ok: true, value: device };
  }
  const { facts } = (await openDevice(device)) as CudaDevice;
  machine.card = facts;
  return {
    ok: true,
    value: `${facts.name}, capability ${facts.capability.toFixed(1)}, driver for CUDA ${facts.driver.toFixed(1)}`,
  };
}

/** What the proof of a precision says is kept, or taken back: loading a model asks for it. */
async function proveGoldens(
  device: Device,
  tolerance: GoldenTolerance,
  { checks, directory, signal }: { checks: Checks; directory: string; signal: AbortSignal },
): Promise<void> {
  const decoder = tolerance.precision;
  const precision = precisionOf(device, tolerance);
  let proven = true;
  for (const name of GOLDEN_NAMES) {
    signal.throwIfAborted();
    const holds = await checks.run(`the golden checkpoint ${name} (${decoder})`, async () => {
      const errors = await goldenErrors({ name, device, precision, directory, signal });
      return { ok: tolerance.holds(errors), value: describeErrors(errors, tolerance) };
    });
    proven &&= holds;
  }
  if (device !== "cpu") await new DeviceProofs().record(device, precision, proven);
}

function precisionOf(device: Device, { precision: decoder }: GoldenTolerance): PackagePrecision {
  return { decoder, vision: defaultVisionPrecision(decoder, deviceKind(device)) };
}

async function measureRooflines(device: Device): Promise<CardRooflines | undefined> {
  if (deviceKind(device) !== "cuda") return undefined;
  return cardRooflines(await openCuda(Number(device.slice("cuda:".length))));
}

function describeMachine(): Record<string, unknown> {
  return {
    date: new Date().toISOString(),
    version: packageVersion(),
    onnxruntime: loadOrt().version,
    node: process.version,
    system: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? process.arch,
    threads: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}
