// `napcat-vlm prove`: is this device right, robust and fast, on this machine? In: a device. Out: a report to show to
// others, and an exit code. Everything it needs ships with the package or is made on the spot.

import { rmSync } from "node:fs";
import { mkdtemp, rm } from "node:fs/promises";
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
import type { CudaDevice } from "../../vlm/runtime/cuda-device.ts";
import { type Device, deviceKind, openDevice, tryDevice } from "../../vlm/runtime/device.ts";
import { loadOrt } from "../../vlm/runtime/ort.ts";
import { announcedDevice } from "../announced-device.ts";
import type { ShapeName } from "../bench/shape-names.ts";
import { print } from "../terminal.ts";
import { checkBehaviour } from "./behaviour-checks.ts";
import { type Check, Checks } from "./check.ts";
import { expectWritable, inJson, writeReport } from "./report-file.ts";
import { describeRooflines, rooflinesOf } from "./rooflines.ts";
import { isSoftware, whereSoftwareIs } from "./software-driver.ts";
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
  /** What was proven on, and what was left out there. */
  readonly machine: Readonly<Record<string, unknown>>;
}

/** What a proof consists of, for tests. */
export interface ProofParts {
  readonly goldenErrors: typeof goldenErrors;
  readonly checkBehaviour: typeof checkBehaviour;
  readonly proofs: Pick<DeviceProofs, "record">;
  readonly missingFormat: typeof missingFormat;
}

/**
 * Resolves to the exit code: 0 when every check holds, and none was left to make when it was stopped.
 *
 * @throws UsageError where the report cannot be written, before anything is proven
 */
export async function prove(
  command: ProveCommand,
  signal: AbortSignal,
  parts: ProofParts = { goldenErrors, checkBehaviour, proofs: new DeviceProofs(), missingFormat },
): Promise<number> {
  if (command.json !== undefined) await expectWritable(command.json);
  const started = performance.now();
  const device = await announcedDevice(command.device);
  const checks = new Checks(signal);
  const speed: SpeedReport[] = [];
  const words = inWords(device, command);
  const machine: Record<string, unknown> = { command: words, ...describeMachine() };
  print(`${words}, ${new Date().toISOString()}`);
  const proof = new Proof(device, command, { checks, speed, machine }, parts, signal);
  const ended = await proof.run().then(
    (isThere) =>
      isThere
        ? { ok: true, value: `${((performance.now() - started) / 1000).toFixed(0)} s` }
        : undefined,
    // Whoever reads the report alone must see that it is not whole.
    (error: unknown) => ({ ok: false, value: signal.aborted ? "it was stopped" : reasonOf(error) }),
  );
  if (ended) checks.add({ name: "the proof comes to its end", ...ended });
  if (checks.leftOut.length > 0) machine.leftOut = checks.leftOut;
  print(inJson(machine));
  if (checks.ok) print("通过 · proven: every check holds");
  else if (signal.aborted) print("未通过，被中止 · not proven: it was stopped before its end");
  else print("未通过 · not proven: see ✗ above");
  const report: ProofReport = { device, checks: checks.list, speed, machine };
  if (command.json !== undefined) await writeReport(command.json, report);
  return checks.ok ? 0 : 1;
}

/** What is found goes into lists, so that a proof that is stopped has found something too. */
interface Findings {
  readonly checks: Checks;
  readonly speed: SpeedReport[];
  readonly machine: Record<string, unknown>;
}

class Proof {
  readonly #device: Device;
  readonly #command: ProveCommand;
  readonly #found: Findings;
  readonly #parts: ProofParts;
  readonly #signal: AbortSignal;
  readonly #started = performance.now();

  constructor(
    device: Device,
    command: ProveCommand,
    found: Findings,
    parts: ProofParts,
    signal: AbortSignal,
  ) {
    this.#device = device;
    this.#command = command;
    this.#found = found;
    this.#parts = parts;
    this.#signal = signal;
  }

  /** Resolves to whether there was anything to prove. @throws the reason of the signal, and what is no finding */
  async run(): Promise<boolean> {
    const { checks, machine } = this.#found;
    if (!(await checks.run("the device is there", () => openIt(this.#device, machine))))
      return false;
    const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-prove-"));
    // A process that is told twice to end does not come back here.
    const removeAtExit = () => rmSync(directory, { recursive: true, force: true });
    process.once("exit", removeAtExit);
    try {
      await this.#run(directory);
    } finally {
      await rm(directory, { recursive: true, force: true, maxRetries: 3 });
      process.removeListener("exit", removeAtExit);
    }
    return true;
  }

  async #run(directory: string): Promise<void> {
    const [device, signal] = [this.#device, this.#signal];
    const { checks } = this.#found;
    const { quick, size } = this.#command;
    let questionMs = 0;
    for (const tolerance of GOLDEN_TOLERANCES[deviceKind(device)]) {
      const missing = await this.#parts.missingFormat(device, precisionOf(device, tolerance));
      if (missing !== undefined) {
        checks.leaveOut(`the device in ${tolerance.precision}`, missing);
        continue;
      }
      await this.#compareGoldens(tolerance, directory);
      const { precision } = tolerance;
      // What may grow there is the driver's, the same one in every precision, and it takes two minutes.
      const once = isSoftware(device, questionMs);
      const work = { checks, device, precision, directory, quick: quick || once, signal };
      questionMs = Math.max(questionMs, (await this.#parts.checkBehaviour(work)) ?? 0);
      if (once && !quick) {
        checks.leaveOut(
          `answers 200 requests without growth (${precision})`,
          "软件驱动，上面已做过 · a software driver, and done above",
        );
      }
    }
    if (!quick || size !== undefined) await this.#measure(directory, questionMs);
  }

  async #measure(directory: string, questionMs: number): Promise<void> {
    const [device, signal] = [this.#device, this.#signal];
    const { checks, speed, machine } = this.#found;
    const rooflines = await rooflinesOf(device, isSoftware(device, questionMs), signal);
    print(`  ${describeRooflines(rooflines)}`);
    machine.rooflines = rooflines;
    const card = deviceKind(device) === "cuda" ? cardOf(await openDevice(device)) : undefined;
    const elapsedMs = performance.now() - this.#started;
    const measured = { size: this.#command.size, card, rooflines, questionMs, elapsedMs, speed };
    await proveSpeed({ checks, device, directory, signal, ...measured });
  }

  /** What the proof of a precision says is kept, or taken back: loading a model asks for it. */
  async #compareGoldens(tolerance: GoldenTolerance, directory: string): Promise<void> {
    const [device, signal] = [this.#device, this.#signal];
    const decoder = tolerance.precision;
    const precision = precisionOf(device, tolerance);
    let proven = true;
    for (const name of GOLDEN_NAMES) {
      const run = { name, device, precision, directory, signal };
      const holds = await this.#found.checks.run(
        `the golden checkpoint ${name} (${decoder})`,
        async () => {
          const errors = await this.#parts.goldenErrors(run);
          return { ok: tolerance.holds(errors), value: describeErrors(errors, tolerance) };
        },
      );
      proven &&= holds;
    }
    if (device !== "cpu") await this.#parts.proofs.record(device, precision, proven);
  }
}

function precisionOf(device: Device, { precision: decoder }: GoldenTolerance): PackagePrecision {
  return { decoder, vision: defaultVisionPrecision(decoder, deviceKind(device)) };
}

async function openIt(device: Device, machine: Record<string, unknown>) {
  machine.onnxruntime = loadOrt().version;
  await tryDevice(device).catch((error: unknown) => {
    if (device !== "webgpu") throw error;
    throw new Error(`${reasonOf(error)}${whereSoftwareIs()}`, { cause: error });
  });
  if (deviceKind(device) !== "cuda") return { ok: true, value: device };
  const { facts } = (await openDevice(device)) as CudaDevice;
  machine.card = facts;
  return {
    ok: true,
    value: `${facts.name}, capability ${facts.capability.toFixed(1)}, driver for CUDA ${facts.driver.toFixed(1)}`,
  };
}

function cardOf(open: Awaited<ReturnType<typeof openDevice>>): string {
  return (open as CudaDevice).facts.name;
}

function inWords(device: Device, { quick, size }: ProveCommand): string {
  const sized = size === undefined ? "" : ` --size ${size}`;
  return `napcat-vlm prove --device ${device}${quick ? " --quick" : ""}${sized}`;
}

function reasonOf(error: unknown): string {
  return error instanceof Error ? error.message : String(error);
}

function describeMachine(): Record<string, unknown> {
  return {
    date: new Date().toISOString(),
    version: packageVersion(),
    node: process.version,
    system: `${process.platform} ${process.arch}`,
    processor: cpus()[0]?.model.trim() ?? process.arch,
    threads: availableParallelism(),
    memoryGiB: Math.round(totalmem() / 2 ** 30),
  };
}
