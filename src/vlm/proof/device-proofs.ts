// Was this device compared with the goldens, on this machine, with this driver? One that never was must not answer
// anybody. In: a device and a precision. Out: nothing, or an error; what was found is kept for a week, so that a check
// costs a moment then and nothing otherwise.

import { createHash } from "node:crypto";
import { mkdtemp, rm } from "node:fs/promises";
import { tmpdir } from "node:os";
import { dirname, join } from "node:path";
import { disk } from "../../disk.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";
import { userCacheDir } from "../convert/user-cache-dir.ts";
import { expectFormats } from "../engine/webgpu-half-floats.ts";
import { isVlmError, ModelLoadError } from "../errors.ts";
import { type Device, deviceKind } from "../runtime/device.ts";
import { deviceIdentity } from "./device-identity.ts";
import { type GoldenErrors, type GoldenRun, goldenErrors } from "./golden-errors.ts";
import { describeErrors, toleranceOf } from "./tolerances.ts";

/** A driver can be replaced in ways that nothing tells of. */
const VALID_MS = 7 * 24 * 60 * 60 * 1000;
/** A picture of 60 patches, cut by the pieces in which its 19 tokens are read, and six steps. */
const SELF_CHECK = { name: "tiny-tied", cases: ["odd_grid"], chunks: [7] } as const;

/** When a device was proven, by what makes it what it is. */
type StoredProofs = Readonly<Record<string, number>>;

export interface ProofParts {
  /** Where proofs are kept. @default a file in the user's cache */
  readonly file?: string;
  readonly identify?: typeof deviceIdentity;
  /** Refuses a precision that the adapter does not have at all. */
  readonly expectFormats?: (device: Device, precision: PackagePrecision) => Promise<void>;
  readonly compute?: (run: GoldenRun) => Promise<GoldenErrors>;
  /** Milliseconds, as `Date.now`. */
  readonly now?: () => number;
}

/** The proofs of this machine's devices. */
export class DeviceProofs {
  readonly #file: string;
  readonly #identify: typeof deviceIdentity;
  readonly #expectFormats: (device: Device, precision: PackagePrecision) => Promise<void>;
  readonly #compute: (run: GoldenRun) => Promise<GoldenErrors>;
  readonly #now: () => number;

  constructor({
    file = join(userCacheDir(), "napcat-vlm", "device-proofs.json"),
    identify = deviceIdentity,
    expectFormats: formats = expectFormats,
    compute = goldenErrors,
    now = Date.now,
  }: ProofParts = {}) {
    this.#file = file;
    this.#identify = identify;
    this.#expectFormats = formats;
    this.#compute = compute;
    this.#now = now;
  }

  /**
   * Compares one golden case, unless that was done within a week. The CPU needs no proof: tests prove it.
   *
   * @throws ModelLoadError `device-unavailable` when the device computes wrongly, or not at all, or lacks the precision
   * @throws ModelLoadError `model-unsupported` for a precision in which no such device can be proven
   */
  async expect(device: Device, precision: PackagePrecision, signal?: AbortSignal): Promise<void> {
    if (device === "cpu") return;
    const tolerance = toleranceOf(deviceKind(device), precision.decoder);
    await this.#expectFormats(device, precision);
    const key = await this.#key(device, precision);
    const proven = (await this.#read())[key];
    if (proven !== undefined && Math.abs(this.#now() - proven) < VALID_MS) return;
    const directory = await mkdtemp(join(tmpdir(), "napcat-vlm-proof-"));
    let errors: GoldenErrors;
    try {
      errors = await this.#compute({ ...SELF_CHECK, device, precision, directory, signal });
    } catch (error) {
      signal?.throwIfAborted();
      if (isVlmError(error) && error.name !== "InferenceError") throw error;
      const reason = error instanceof Error ? error.message : String(error);
      throw refused(device, precision, `cannot compute a model whose results are known: ${reason}`);
    } finally {
      await rm(directory, { recursive: true, force: true });
    }
    const holds = tolerance.holds(errors);
    await this.#write(key, holds);
    if (holds) return;
    const found = describeErrors(errors, tolerance);
    throw refused(device, precision, `computes wrongly: ${found}`);
  }

  /** Keeps what a whole proof has found, or takes back what was found before. */
  async record(device: Device, precision: PackagePrecision, holds: boolean): Promise<void> {
    await this.#write(await this.#key(device, precision), holds);
  }

  async #key(device: Device, precision: PackagePrecision): Promise<string> {
    const identity = await this.#identify(device, precision);
    return createHash("sha256").update(identity).digest("hex");
  }

  async #read(): Promise<StoredProofs> {
    try {
      const stored: unknown = JSON.parse(await disk.readText(this.#file));
      if (typeof stored !== "object" || stored === null) return {};
      const proofs = Object.entries(stored).filter((entry) => typeof entry[1] === "number");
      return Object.fromEntries(proofs);
    } catch {
      return {}; // None yet, or damaged: what is not known is checked.
    }
  }

  async #write(key: string, holds: boolean): Promise<void> {
    const { [key]: _before, ...others } = await this.#read();
    const current = Object.entries(others).filter(([, at]) => this.#now() - at < VALID_MS);
    const proofs = { ...Object.fromEntries(current), ...(holds ? { [key]: this.#now() } : {}) };
    try {
      await disk.makeDirectory(dirname(this.#file));
      await disk.replaceFile(this.#file, `${JSON.stringify(proofs, undefined, 2)}\n`);
    } catch {
      // Where nothing can be kept, every load checks.
    }
  }
}

function refused(device: Device, { decoder }: PackagePrecision, what: string): ModelLoadError {
  return new ModelLoadError(
    "device-unavailable",
    `The device "${device}" ${what} (${decoder}). It must not answer anybody: update its driver, show the report of ` +
      `\`napcat-vlm prove --device ${device}\` in an issue, or use device "cpu".`,
  );
}
