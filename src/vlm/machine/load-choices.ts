// What follows from this machine when a model is loaded: whether it fits, the precision of a conversion, the format of keys
// and values, and how large pictures may be. In: the options of a load. Out: choices, and one sentence for whoever wonders
// why pictures are small.

import { basename, dirname, resolve } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { readModelSettings } from "../checkpoint/open-checkpoint.ts";
import type { CacheFormat } from "../convert/cached-attention.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { isMarkedAsPackage } from "../convert/manifest.ts";
import type { PackagePrecision } from "../convert/package-graphs.ts";
import type { ModelPackage } from "../engine/onnx-package.ts";
import { ModelLoadError } from "../errors.ts";
import { DEFAULT_CONTEXT_TOKENS, type ResolvedLoadOptions } from "../options.ts";
import type { ModelInfo } from "../vision-language-model.ts";
import { chooseCacheFormat } from "./cache-choice.ts";
import { imageBudget, isFastAnywhere, MOST_IMAGE_TOKENS } from "./image-budget.ts";
import { type MachineProfile, machineProfile } from "./machine-profile.ts";
import { checkMemory, plannedWeightBytes } from "./memory-check.ts";
import { precisionForCheckpoint } from "./precision-choice.ts";
import { chooseRuns, type RunChoices, USUAL_RUNS } from "./run-choices.ts";

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
  const { maxImageTokens, targetFirstTokenMs } = options;
  if (maxImageTokens !== "auto") return { maxImageTokens };
  if (options.device !== "cpu" || isFastAnywhere(config, targetFirstTokenMs)) {
    return { maxImageTokens: MOST_IMAGE_TOKENS };
  }
  const profile = await profileFor(directory, options);
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

/**
 * In which format keys and values are kept: as asked for, or as this machine is faster.
 *
 * @throws ModelLoadError `model-unsupported` when the package has no graph for what was asked for
 */
export async function chooseKvPrecision(
  { directory, name, precision, config, cacheFormats = ["fp32"] }: ModelPackage,
  options: ResolvedLoadOptions,
): Promise<CacheFormat> {
  const { device, kvPrecision, targetFirstTokenMs } = options;
  if (device !== "cpu") return "fp32";
  if (kvPrecision !== "auto") {
    if (cacheFormats.includes(kvPrecision)) return kvPrecision;
    throw new ModelLoadError(
      "model-unsupported",
      `${name} keeps keys and values in ${cacheFormats.join(", ")} only, not in ${kvPrecision}. Convert its checkpoint ` +
        "again, or leave kvPrecision out.",
      { modelDir: directory },
    );
  }
  // A package from before has no other, and a model that is fast anyway needs no other.
  const hasChoice = cacheFormats.includes("int8") && precision.decoder !== "fp32";
  if (!hasChoice || isFastAnywhere(config, targetFirstTokenMs)) return "fp32";
  return chooseCacheFormat(await profileFor(directory, options), precision.decoder);
}

/** How prompts are cut, how many answers are written at once, and what guesses cost. */
export async function chooseRunsFor(
  { directory, precision, config }: ModelPackage,
  options: ResolvedLoadOptions,
): Promise<RunChoices> {
  const { device, targetFirstTokenMs } = options;
  if (device !== "cpu" || isFastAnywhere(config, targetFirstTokenMs)) return USUAL_RUNS;
  return chooseRuns(await profileFor(directory, options), config, precision.decoder);
}

/** A package that somebody named keeps the measurement inside, one made from a checkpoint has it beside. */
function profileFor(directory: string, options: ResolvedLoadOptions): Promise<MachineProfile> {
  const { model, packageDir, threads, signal } = options;
  const isNamed = directory === model || directory === packageDir;
  return machineProfile(isNamed ? directory : dirname(directory), { threads, signal });
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
  asked: {
    readonly contextTokens: number;
    readonly imageTokens: number;
    readonly kvPrecision?: CacheFormat;
  },
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
