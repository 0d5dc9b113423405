// A package and options in, a model on its device out: tokenizer, eyes, decoder, caches and the loop, put together. It
// knows how to take all of that apart again, and nothing of requests.

import { unexpected } from "../parse-options.ts";
import { readModelSettings } from "./checkpoint/open-checkpoint.ts";
import { ResponseFormats } from "./constrain/response-format.ts";
import { withDiskTrouble } from "./convert/disk-trouble.ts";
import { allOrFailure } from "./engine/all-or-failure.ts";
import { Speculation } from "./engine/draft.ts";
import { Engine } from "./engine/engine.ts";
import { FeatureCache } from "./engine/feature-cache.ts";
import type { ModelParts } from "./engine/generate.ts";
import { type BackendOptions, loadBackend } from "./engine/load-backend.ts";
import { loadForeign } from "./engine/load-foreign.ts";
import { type ModelPackage, openPackage } from "./engine/onnx-package.ts";
import { PrefixCache } from "./engine/prefix-cache.ts";
import { ModelLoadError } from "./errors.ts";
import { findForeignFiles } from "./foreign/foreign-files.ts";
import { openForeignPackage } from "./foreign/foreign-package.ts";
import { ImageTensorCache } from "./image/image-tensor.ts";
import { MOST_IMAGE_TOKENS } from "./machine/image-budget.ts";
import {
  checkPackageMemory,
  chooseImageBudget,
  chooseKvPrecision,
  chooseRunsFor,
} from "./machine/load-choices.ts";
import { DEFAULT_CONTEXT_TOKENS, type ResolvedLoadOptions } from "./options.ts";
import { uselessPriority } from "./runtime/compute-priority.ts";
import { type Device, openDevice } from "./runtime/device.ts";
import type { TemplateFeature } from "./text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";
import type { ModelInfo } from "./vision-language-model.ts";

/** What nearly every conversation uses; a template without tools, say, surprises nobody. */
const USUAL_FEATURES: ReadonlySet<TemplateFeature> = new Set([
  "chat",
  "system-prompt",
  "pictures",
  "reasoning",
]);

/** Weights are used where their file is mapped, and every process that maps it has the same pages. */
const MAPPED_WEIGHTS = { "session.disable_prepacking": "1" };

/** A model as it lies on its device. */
export interface LoadedModel {
  readonly model: ModelParts;
  readonly info: ModelInfo;
  readonly disposals: readonly (() => Promise<void> | void)[];
  /** Aborts when its device is lost, with the error that says so; undefined on the CPU. */
  readonly loss: AbortSignal | undefined;
}

export type DecidedOptions = ResolvedLoadOptions & { readonly device: Device };

/** @throws ModelLoadError, DeviceError; nothing stays allocated */
export async function loadModel(packageDir: string, options: DecidedOptions): Promise<LoadedModel> {
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const open = await openDevice(options.device);
    const parts = await withDiskTrouble(packageDir, () =>
      loadParts(packageDir, options, disposals),
    );
    return { ...parts, disposals, loss: open?.loss };
  } catch (error) {
    // Why it could not be loaded is what counts; trouble with cleaning up is a consequence.
    await disposeAll(disposals).catch(() => {});
    throw error;
  }
}

/** Whoever waits is told why; whoever runs must have been aborted, or fails by itself. */
export async function unloadModel({ model, disposals }: LoadedModel, why?: Error): Promise<void> {
  await model.engine.close(why);
  await disposeAll(disposals);
}

async function loadParts(
  packageDir: string,
  options: DecidedOptions,
  disposals: (() => Promise<void> | void)[],
): Promise<{ model: ModelParts; info: ModelInfo }> {
  const { signal, onProgress, device, threads, computePriority } = options;
  const shares = options.shareWeights && device === "cpu";
  const useless = uselessPriority(computePriority, device);
  if (useless !== undefined) options.onWarning(useless);
  const sessionOptions = {
    device,
    signal,
    priority: computePriority,
    ...(threads === undefined ? {} : { threads }),
    ...(shares ? { configEntries: MAPPED_WEIGHTS } : {}),
  };
  const { found, load } = await openAnyPackage(packageDir, options);
  const { config } = found;
  const budget = await chooseImageBudget(found, options);
  const kvPrecision = await chooseKvPrecision(found, options);
  const runs = await chooseRunsFor(found, options);
  const contextTokens = chooseContextTokens(options, config.text.maxPositionEmbeddings);
  if (device === "cpu") {
    const imageTokens = budget.maxImageTokens ?? MOST_IMAGE_TOKENS;
    checkPackageMemory(found, options, { contextTokens, imageTokens, kvPrecision });
  }

  const text = readText(found, options);
  const [{ tokenizer, settings }, backend] = await allOrFailure(
    text,
    load({
      beside: text,
      session: sessionOptions,
      contextTokens,
      maxConcurrent: options.maxConcurrent,
      deviceMemoryBytes: options.deviceMemoryBytes,
      cacheBytes: {
        ...(options.featureCacheBytes === undefined ? {} : { features: options.featureCacheBytes }),
        ...(options.prefixCacheBytes === undefined ? {} : { prefixes: options.prefixCacheBytes }),
      },
      captureGraphs: options.captureGraphs,
      stepKernels: options.stepKernels,
      onNote: options.onWarning,
      kvPrecision,
      mostConcurrent: runs.mostConcurrent,
      onPart: (part) => {
        signal?.throwIfAborted();
        onProgress({ type: "load", part });
      },
      onMade: (dispose) => disposals.push(dispose),
    }),
  );
  const { visionEncoder, decoder, slots, cacheBytes, mostTokens, warnings = [] } = backend;
  for (const warning of warnings) options.onWarning(warning);
  const { hostPrefixes = 0 } = cacheBytes;
  const prefixBytes = {
    maxBytes: options.prefixCacheBytes ?? cacheBytes.prefixes,
    maxHostBytes: hostPrefixes === 0 ? 0 : (options.prefixCacheBytes ?? hostPrefixes),
  };
  const images = new ImageTensorCache({
    maxBytes: options.imageCacheBytes,
    processor: settings.processor,
    alpha: options.transparency,
    ...options.images,
    ...(budget.maxImageTokens === undefined ? {} : { maxImageTokens: budget.maxImageTokens }),
  });
  disposals.push(() => images.clear());
  const eosTokenIds = new Set([...settings.generation.eosTokenIds, ...tokenizer.stopTokenIds]);
  return {
    model: {
      config,
      tokenizer,
      images,
      contextTokens,
      generationDefaults: settings.generation,
      eosTokenIds,
      formats: new ResponseFormats({
        size: Math.min(tokenizer.size, config.text.vocabSize),
        isAdded: (id) => tokenizer.isAdded(id),
        tokenBytes: (id) => tokenizer.tokenBytes(id),
        endIds: eosTokenIds,
      }),
      engine: new Engine({
        decoder,
        slots,
        visionEncoder,
        features: new FeatureCache(options.featureCacheBytes ?? cacheBytes.features),
        prefixes: new PrefixCache(prefixBytes),
        speculation: options.speculation ? new Speculation(runs.costOfRow) : undefined,
        maxQueue: options.maxQueue,
        maxStallMs: options.maxStallMs,
        maxChunkTokens: Math.min(
          options.prefillChunkTokens === "auto" ? runs.chunkTokens : options.prefillChunkTokens,
          mostTokens,
        ),
      }),
    },
    info: {
      name: found.name,
      device,
      contextTokens,
      thinking: tokenizer.thinking,
      ...(device === "cpu" ? { kvPrecision } : {}),
      ...budget,
      ...(warnings.length > 0 ? { warnings } : {}),
    },
  };
}

/** One of our own, or one that another program made; they differ in how their graphs are loaded. */
async function openAnyPackage(dir: string, options: DecidedOptions) {
  const files = await findForeignFiles(dir);
  if (files === undefined) {
    const found = await openPackage(dir);
    return { found, load: (to: BackendOptions) => loadBackend(found, to) };
  }
  const found = await openForeignPackage(files, options);
  return { found, load: (to: BackendOptions) => loadForeign(found, to) };
}

/** Tokenizer and settings: work of this thread, while others read the weights. */
async function readText(
  { directory, name, assumptions: told, config }: ModelPackage,
  { onWarning }: DecidedOptions,
) {
  const tokenizer = await loadTokenizer(directory);
  const settings = await readModelSettings(directory, { thinking: tokenizer.thinking });
  checkTokenizer(tokenizer, config, directory);
  const unusual = tokenizer.templateDifferences.filter((feature) => USUAL_FEATURES.has(feature));
  if (unusual.length > 0) {
    onWarning(
      `The chat template of ${name} differs from Qwen3-VL's in ${unusual.join(", ")}; ` +
        "prompts are written in Qwen3-VL's format.",
    );
  }
  // The settings are read again from the package, and say again what is said of the checkpoint.
  const assumptions = new Set([...told, ...settings.assumptions]);
  if (assumptions.size > 0) {
    onWarning(`${name}: ${[...assumptions].join(" ")}`);
  }
  return { tokenizer, settings };
}

/** In the reverse order of making. One that fails does not keep the others from being disposed. */
async function disposeAll(disposals: readonly (() => Promise<void> | void)[]): Promise<void> {
  const failures: unknown[] = [];
  for (const dispose of disposals.toReversed()) {
    try {
      await dispose();
    } catch (error) {
      failures.push(error);
    }
  }
  if (failures.length > 0) throw new AggregateError(failures, "Not everything could be disposed.");
}

function chooseContextTokens({ maxContextTokens }: ResolvedLoadOptions, limit: number): number {
  if (maxContextTokens === undefined) return Math.min(DEFAULT_CONTEXT_TOKENS, limit);
  if (maxContextTokens > limit) {
    const expected = `at most the checkpoint's ${limit}`;
    throw new RangeError(unexpected("maxContextTokens", expected, maxContextTokens));
  }
  return maxContextTokens;
}

/** Graphs and tokenizer must speak of the same tokens, or pictures would land on the wrong rows. */
function checkTokenizer(
  tokenizer: Tokenizer,
  config: ModelParts["config"],
  modelDir: string,
): void {
  const imageTokenId = tokenizer.specialId("<|image_pad|>");
  if (imageTokenId === config.imageTokenId && tokenizer.size <= config.text.vocabSize) return;
  throw new ModelLoadError(
    "model-corrupt",
    `tokenizer.json (${tokenizer.size} tokens, <|image_pad|> is ${imageTokenId}) and config.json ` +
      `(${config.text.vocabSize} rows, image token ${config.imageTokenId}) belong to different models.`,
    { modelDir },
  );
}
