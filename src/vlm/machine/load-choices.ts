// What follows from this machine when a model is loaded: whether it fits, the precision of a conversion, and how large
// pictures may be. In: the options of a load. Out: choices, and one sentence for whoever wonders why pictures are small.

import { basename, dirname, resolve } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { isMarkedAsPackage } from "../convert/manifest.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";
import type { ModelPackage } from "../engine/onnx-package.ts";
import { DEFAULT_CONTEXT_TOKENS, type ResolvedLoadOptions } from "../options.ts";
import type { ModelInfo } from "../vision-language-model.ts";
import { imageBudget, isFastAnywhere, MOST_IMAGE_TOKENS } from "./image-budget.ts";
import { machineProfile } from "./machine-profile.ts";
import { checkMemory, plannedWeightBytes } from "./memory-check.ts";
import { precisionForCheckpoint } from "./precision-choice.ts";

/** Of a conversion when nobody names one; a package has its own. */
export async function usualPrecision(options: ResolvedLoadOptions): Promise<Precision | undefined> {
  const { model, threads, signal } = options;
  if (options.device !== "cpu" || (await isMarkedAsPackage(model))) return undefined;
  return precisionForCheckpoint(model, { threads, signal });
}

/** How large pictures may be: as asked for, or as this machine can see and read in time. */
export async function chooseImageBudget(
  { directory, precision, config }: ModelPackage,
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
  const budget = imageBudget(profile, config, precision, targetFirstTokenMs);
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

/** Sizes that nobody has chosen yet are taken as small as they can become. */
const SMALLEST_BUDGET = 128;

/**
 * Before minutes go into a conversion: will the package fit into memory? Says nothing of what cannot be read.
 *
 * @throws ModelLoadError `memory-short`
 */
export async function checkCheckpointMemory(
  options: ResolvedLoadOptions,
  precision: PackagePrecision,
): Promise<void> {
  const { model, maxImageTokens } = options;
  if (options.memoryCheck === "off" || (await isMarkedAsPackage(model))) return;
  const settings = await readModelSettings(model).catch(() => undefined);
  if (settings === undefined) return;
  const { config } = settings;
  const question = {
    name: basename(resolve(model)),
    config,
    precision,
    convertible: true,
    weightBytes: plannedWeightBytes(config, precision),
    contextTokens: contextTokensOf(options, config),
    imageTokens: maxImageTokens === "auto" ? SMALLEST_BUDGET : maxImageTokens,
    cacheBytes: namedCacheBytes(options),
  };
  checkMemory(question, options.memoryCheck, options.onWarning);
}

/**
 * Before a package is loaded on the CPU: will it fit into memory?
 *
 * @throws ModelLoadError `memory-short`
 */
export function checkPackageMemory(
  { name, config, precision, weightBytes, contextCopies }: ModelPackage,
  options: ResolvedLoadOptions,
  asked: { readonly contextTokens: number; readonly imageTokens: number },
): void {
  const question = {
    ...asked,
    name,
    config,
    precision,
    convertible: false,
    weightBytes,
    contextCopies,
    cacheBytes: namedCacheBytes(options),
  };
  checkMemory(question, options.memoryCheck, options.onWarning);
}

/** The others shrink with what is free. */
function namedCacheBytes({
  featureCacheBytes = 0,
  prefixCacheBytes = 0,
}: ResolvedLoadOptions): number {
  return featureCacheBytes + prefixCacheBytes;
}

function contextTokensOf(
  { maxContextTokens = DEFAULT_CONTEXT_TOKENS }: ResolvedLoadOptions,
  { text }: Qwen3VlConfig,
): number {
  return Math.min(maxContextTokens, text.maxPositionEmbeddings);
}
