// `napcat-vlm convert DIR`: a checkpoint becomes an ONNX package. In: directories. Out: a package, and how far it is.
// Ctrl-C leaves nothing behind; the converter sees to that.

import { resolve } from "node:path";
import { adapterSuffix } from "../vlm/convert/adapter-name.ts";
import { choosePrecision } from "../vlm/convert/ensure-package.ts";
import { deviceOfPrecision } from "../vlm/convert/package-graphs.ts";
import {
  convertCheckpoint,
  defaultPackageDir,
  PullError,
  preferredInt8Weights,
} from "../vlm/index.ts";
import { precisionForCheckpoint } from "../vlm/machine/precision-choice.ts";
import { deviceKind } from "../vlm/runtime/device.ts";
import { announcedDevice } from "./announced-device.ts";
import { nameIn } from "./named-model.ts";
import { showProgress } from "./progress.ts";
import type { Settings } from "./settings.ts";
import { print } from "./terminal.ts";

export interface ConvertCommand {
  readonly directory: string;
  /** Directories of LoRA adapters that are merged, one after the other. */
  readonly lora: readonly string[];
  /** Left out: where `start` looks for it, inside the checkpoint; a package with adapters beside that. */
  readonly out: string | undefined;
  readonly precision: Settings["precision"];
  /** What the package is for. */
  readonly device: Settings["device"];
}

/** Resolves when the package is complete. */
export async function convert(command: ConvertCommand, signal: AbortSignal): Promise<void> {
  // What `start` converts to as well.
  const checkpointDir = resolve(await checkpointOf(command.directory));
  const chosen = await announcedDevice(command.device);
  const device = chosen === "cpu" ? deviceOfPrecision(command.precision) : deviceKind(chosen);
  const named =
    command.precision ??
    (device === "cpu" ? await precisionForCheckpoint(checkpointDir, { signal }) : undefined);
  const { decoder, vision } = choosePrecision(named, undefined, device);
  const adapters = command.lora.map((dir) => resolve(dir));
  const usual = defaultPackageDir(checkpointDir, { decoder, vision }, device);
  const outputDir = resolve(command.out ?? usual + (await adapterSuffix(adapters)));
  const progress = showProgress();
  try {
    const { outputs, assumptions } = await convertCheckpoint({
      checkpointDir,
      outputDir,
      precision: decoder,
      visionPrecision: vision,
      device,
      int8Weights: await preferredInt8Weights(),
      adapters,
      signal,
      onProgress: ({ doneBytes, totalBytes }) =>
        progress.show({ type: "convert", done: doneBytes, total: totalBytes }),
    });
    progress.end();
    const bytes = outputs.reduce((sum, output) => sum + output.bytes, 0);
    print(`完成 done: ${outputDir} (${decoder}, ${(bytes / 1e6).toFixed(1)} MB)`);
    for (const sentence of assumptions) print(`注意 note: ${sentence}`);
    print(`试一试 try it: napcat-vlm start --model ${outputDir}`);
  } finally {
    progress.end();
  }
}

/** A directory, or the files of a pulled model, where they were kept. */
async function checkpointOf(text: string): Promise<string> {
  const name = await nameIn(text);
  if (name === undefined) return text;
  const { ModelStore } = await import("../vlm/hub/model-store.ts");
  const { checkpoint, foreign } = await new ModelStore().get(name);
  if (checkpoint !== undefined) return checkpoint;
  if (foreign !== undefined) return foreign.directory; // The conversion says why it cannot.
  throw new PullError(
    "not-pulled",
    `The files of ${name} were not kept. Pull it with another --precision, or with --keep-checkpoint: napcat-vlm pull ${name} --keep-checkpoint`,
  );
}
