// What follows from this machine when a model is loaded: the precision of a conversion, and how large pictures may be.
// In: the options of a load. Out: choices, and one sentence for whoever wonders why pictures are small.

import { dirname } from "node:path";
import type { Precision } from "../convert/linear-layers.ts";
import { isMarkedAsPackage } from "../convert/manifest.ts";
import type { OnnxPackage } from "../engine/onnx-package.ts";
import type { ResolvedLoadOptions } from "../options.ts";
import type { ModelInfo } from "../vision-language-model.ts";
import { imageBudget, isFastAnywhere, MOST_IMAGE_TOKENS } from "./image-budget.ts";
import { machineProfile } from "./machine-profile.ts";
import { precisionForCheckpoint } from "./precision-choice.ts";

/** Of a conversion when nobody names one; a package has its own. */
export async function usualPrecision(options: ResolvedLoadOptions): Promise<Precision | undefined> {
  const { model, threads, signal } = options;
  if (options.device !== "cpu" || (await isMarkedAsPackage(model))) return undefined;
  return precisionForCheckpoint(model, { threads, signal });
}

/** How large pictures may be: as asked for, or as this machine can see and read in time. */
export async function chooseImageBudget(
  { directory, manifest, config }: OnnxPackage,
  options: ResolvedLoadOptions,
): Promise<Pick<ModelInfo, "maxImageTokens" | "expectedFirstTokenMs">> {
  const { maxImageTokens, targetFirstTokenMs, threads, signal } = options;
  if (maxImageTokens !== "auto") return { maxImageTokens };
  if (options.device !== "cpu" || isFastAnywhere(config, targetFirstTokenMs)) {
    return { maxImageTokens: MOST_IMAGE_TOKENS };
  }
  // A package that somebody named keeps the measurement inside, one made from a checkpoint has it beside.
  const isNamed = directory === options.model || directory === options.packageDir;
  const dir = isNamed ? directory : dirname(directory);
  const profile = await machineProfile(dir, { threads, signal });
  const budget = imageBudget(profile, config, manifest.precision, targetFirstTokenMs);
  if (budget.maxImageTokens < MOST_IMAGE_TOKENS) {
    const seconds = (ms: number) => (ms / 1000).toFixed(1);
    options.onWarning(
      `Pictures become at most ${budget.maxImageTokens} tokens on this machine, so that a first word about one is ` +
        `expected after ${seconds(budget.expectedFirstTokenMs)} s (targetFirstTokenMs: ` +
        `${seconds(targetFirstTokenMs)} s). Set maxImageTokens to choose yourself.`,
    );
  }
  return budget;
}
