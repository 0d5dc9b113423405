// loadQwen3Vl: a directory in, a model that sees out. It wires the parts; each part is in a file of its own.

import { sharedController, startDeadline } from "../abort.ts";
import { unexpected } from "../parse-options.ts";
import { readModelSettings } from "./checkpoint/open-checkpoint.ts";
import { collectStream } from "./collect.ts";
import { ResponseFormats } from "./constrain/response-format.ts";
import { withDiskTrouble } from "./convert/disk-trouble.ts";
import { ensurePackage, plannedPrecision } from "./convert/ensure-package.ts";
import { preferredInt8Weights } from "./engine/cpu-settings.ts";
import { Speculation } from "./engine/draft.ts";
import { Engine } from "./engine/engine.ts";
import { FeatureCache } from "./engine/feature-cache.ts";
import { forget, generate, type ModelParts, warm } from "./engine/generate.ts";
import { loadBackend } from "./engine/load-backend.ts";
import { openPackage } from "./engine/onnx-package.ts";
import { channelParts } from "./engine/part-channel.ts";
import { PrefixCache } from "./engine/prefix-cache.ts";
import { DisposedError, ModelLoadError } from "./errors.ts";
import { ImageTensorCache } from "./image/image-tensor.ts";
import { loadSharp } from "./image/sharp.ts";
import { chooseImageBudget, usualPrecision } from "./machine/load-choices.ts";
import {
  DEFAULT_CONTEXT_TOKENS,
  type LoadOptions,
  type ResolvedLoadOptions,
  resolveLoadOptions,
} from "./options.ts";
import { DeviceProofs } from "./proof/device-proofs.ts";
import { checkForgetRequest, resolveRequest, resolveWarmRequest } from "./request-options.ts";
import { chooseDevice } from "./runtime/choose-device.ts";
import { type Device, deviceKind, openDevice } from "./runtime/device.ts";
import { loadOrt } from "./runtime/ort.ts";
import type { TemplateFeature } from "./text/chat-template.ts";
import { loadTokenizer, type Tokenizer } from "./text/tokenizer.ts";
import type {
  ForgetRequest,
  ForgetResult,
  GenerateRequest,
  GenerateResult,
  ModelInfo,
  StreamPart,
  VisionLanguageModel,
  WarmRequest,
} from "./vision-language-model.ts";

/** What nearly every conversation uses; a template without tools, say, surprises nobody. */
const USUAL_FEATURES: ReadonlySet<TemplateFeature> = new Set([
  "chat",
  "system-prompt",
  "pictures",
  "reasoning",
]);

/**
 * Loads a Qwen3-VL model into this process, converting its checkpoint first when that was not done before.
 *
 * @example
 * const model = await loadQwen3Vl({ model: "./Qwen3-VL-2B-Instruct" });
 * const { text } = await model.generate({
 *   messages: [{ role: "user", content: [{ type: "image", data }, { type: "text", text: "这是什么？" }] }],
 * });
 *
 * @throws {TypeError | RangeError} for a wrong option: what was expected and what came
 * @throws {ModelLoadError} when the model cannot be loaded; nothing stays allocated
 * @throws the signal's reason when it aborts
 */
export async function loadQwen3Vl(options: LoadOptions): Promise<Qwen3VlModel> {
  const resolved = resolveLoadOptions(options);
  const { signal, onProgress } = resolved;
  signal?.throwIfAborted();
  // What cannot be loaded here is known before minutes go into a conversion.
  await loadSharp();
  loadOrt();
  const device = await decideDevice(resolved);
  const packageDir = await ensurePackage({
    ...resolved,
    device: deviceKind(device),
    precision:
      resolved.precision ?? (device === "cpu" ? await usualPrecision(resolved) : undefined),
    int8Weights: await preferredInt8Weights(),
    onProgress: ({ doneBytes, totalBytes }) =>
      onProgress({ type: "convert", done: doneBytes, total: totalBytes }),
  });
  const disposals: (() => Promise<void> | void)[] = [];
  try {
    const { model, info } = await withDiskTrouble(packageDir, () =>
      loadParts(packageDir, { ...resolved, device }, disposals),
    );
    signal?.throwIfAborted();
    return new Qwen3Vl(model, info, disposals);
  } catch (error) {
    // Why it could not be loaded is what counts; trouble with cleaning up is a consequence.
    await disposeAll(disposals).catch(() => {});
    throw error;
  }
}

/** A named device that is not there, or computes wrongly, is an error; and a chosen one is told. */
async function decideDevice(options: ResolvedLoadOptions): Promise<Device> {
  const { device, signal, onWarning } = options;
  const proofs = new DeviceProofs();
  const prove = async (tried: Device) => {
    if (tried === "cpu") return;
    const planned = await plannedPrecision({ ...options, device: deviceKind(tried) });
    await proofs.expect(tried, planned, signal);
  };
  if (device === "auto") {
    const chosen = await chooseDevice(prove);
    signal?.throwIfAborted();
    onWarning(chosen.why);
    return chosen.device;
  }
  await openDevice(device);
  await prove(device);
  return device;
}

async function loadParts(
  packageDir: string,
  options: ResolvedLoadOptions & { readonly device: Device },
  disposals: (() => Promise<void> | void)[],
): Promise<{ model: ModelParts; info: ModelInfo }> {
  const { signal, onProgress, device, threads } = options;
  const sessionOptions = { device, signal, ...(threads === undefined ? {} : { threads }) };
  const onnxPackage = await openPackage(packageDir);
  const { config, manifest } = onnxPackage;
  const tokenizer = await loadTokenizer(packageDir);
  const settings = await readModelSettings(packageDir, tokenizer.thinking);
  checkTokenizer(tokenizer, onnxPackage.config, packageDir);
  const unusual = tokenizer.templateDifferences.filter((feature) => USUAL_FEATURES.has(feature));
  if (unusual.length > 0) {
    options.onWarning(
      `The chat template of ${manifest.source.name} differs from Qwen3-VL's in ${unusual.join(", ")}; ` +
        "prompts are written in Qwen3-VL's format.",
    );
  }
  // The settings are read again from the package, and say again what is said of the checkpoint.
  const assumptions = new Set([...manifest.assumptions, ...settings.assumptions]);
  if (assumptions.size > 0) {
    options.onWarning(`${manifest.source.name}: ${[...assumptions].join(" ")}`);
  }
  const budget = await chooseImageBudget(onnxPackage, options);
  const contextTokens = chooseContextTokens(options, config.text.maxPositionEmbeddings);

  const backend = await loadBackend(onnxPackage, {
    session: sessionOptions,
    contextTokens,
    maxConcurrent: options.maxConcurrent,
    deviceMemoryBytes: options.deviceMemoryBytes,
    captureGraphs: options.captureGraphs,
    onPart: (part) => {
      signal?.throwIfAborted();
      onProgress({ type: "load", part });
    },
    onMade: (dispose) => disposals.push(dispose),
  });
  const { visionEncoder, decoder, slots, cacheBytes, keepsPrefixes, mostTokens } = backend;
  const prefixBytes = keepsPrefixes ? (options.prefixCacheBytes ?? cacheBytes.prefixes) : 0;
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
        prefixes: new PrefixCache({ maxBytes: prefixBytes }),
        speculation: options.speculation ? new Speculation() : undefined,
        maxQueue: options.maxQueue,
        maxStallMs: options.maxStallMs,
        maxChunkTokens: Math.min(options.prefillChunkTokens, mostTokens),
      }),
    },
    info: {
      name: manifest.source.name,
      device,
      contextTokens,
      thinking: tokenizer.thinking,
      ...budget,
    },
  };
}

/** A model in this process: it keeps what it has computed, and can be told to compute ahead and to forget. */
export interface Qwen3VlModel extends VisionLanguageModel {
  warm(request: WarmRequest): Promise<void>;
  forget(request: ForgetRequest): Promise<ForgetResult>;
}

/** The model as its users see it: checks requests, hands them to the engine, ends everything in order. */
class Qwen3Vl implements Qwen3VlModel {
  readonly info: ModelInfo;
  readonly #model: ModelParts;
  readonly #disposals: readonly (() => Promise<void> | void)[];
  readonly #disposal = sharedController();
  #disposing: Promise<void> | undefined;

  constructor(
    model: ModelParts,
    info: ModelInfo,
    disposals: readonly (() => Promise<void> | void)[],
  ) {
    this.#model = model;
    this.info = info;
    this.#disposals = disposals;
  }

  get disposed(): boolean {
    return this.#disposing !== undefined;
  }

  stream(request: GenerateRequest): AsyncGenerator<StreamPart, void, void> {
    const resolved = resolveRequest(request, this.#model.generationDefaults, this.info);
    return channelParts(async (push, abandoned) => {
      const stop = startDeadline(undefined, request.signal, this.#disposal.signal, abandoned);
      try {
        stop.signal.throwIfAborted();
        await generate(this.#model, resolved, push, stop);
      } finally {
        stop.end();
      }
    });
  }

  async generate(request: GenerateRequest): Promise<GenerateResult> {
    return collectStream(this.stream(request));
  }

  async warm(request: WarmRequest): Promise<void> {
    const resolved = resolveWarmRequest(request, this.info);
    const stop = startDeadline(undefined, request.signal, this.#disposal.signal);
    try {
      stop.signal.throwIfAborted();
      await warm(this.#model, resolved, stop);
    } finally {
      stop.end();
    }
  }

  async forget(request: ForgetRequest): Promise<ForgetResult> {
    checkForgetRequest(request);
    return forget(this.#model, request);
  }

  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  async #dispose(): Promise<void> {
    this.#disposal.abort(new DisposedError("The model"));
    await this.#model.engine.close();
    await disposeAll(this.#disposals);
  }
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
