// loadQwen3Vl: a directory in, a model that sees out. It wires the parts; each part is in a file of its own.

import { type Deadline, sharedController, startDeadline } from "../abort.ts";
import { collectStream } from "./collect.ts";
import { choosePrecision, ensurePackage, plannedPrecision } from "./convert/ensure-package.ts";
import { resolveDecide } from "./decide-options.ts";
import { preferredInt8Weights } from "./engine/cpu-settings.ts";
import { decide } from "./engine/decide.ts";
import { forget, generate, type ModelParts, warm } from "./engine/generate.ts";
import { channelParts } from "./engine/part-channel.ts";
import { DisposedError } from "./errors.ts";
import { type ForeignFiles, findForeignFiles } from "./foreign/foreign-files.ts";
import { expectForeignChoices } from "./foreign/foreign-package.ts";
import { loadSharp } from "./image/sharp.ts";
import { type LoadedModel, loadModel, unloadModel } from "./load-model.ts";
import { chooseUsualDevice } from "./machine/device-choice.ts";
import { checkCheckpointMemory, usualPrecision } from "./machine/load-choices.ts";
import { type LoadOptions, type ResolvedLoadOptions, resolveLoadOptions } from "./options.ts";
import { DeviceProofs } from "./proof/device-proofs.ts";
import { Recovery, type RecoveryOptions } from "./recovery.ts";
import { checkForgetRequest, resolveRequest, resolveWarmRequest } from "./request-options.ts";
import { type Device, deviceKind, openDevice } from "./runtime/device.ts";
import { prepareOrt } from "./runtime/ort.ts";
import type {
  DecideQuestion,
  DecideRequest,
  DecideResult,
  Decision,
  ForgetRequest,
  ForgetResult,
  GenerateRequest,
  GenerateResult,
  ModelHealth,
  ModelInfo,
  StreamPart,
  VisionLanguageModel,
  WarmRequest,
} from "./vision-language-model.ts";

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
  const { signal } = resolved;
  signal?.throwIfAborted();
  // What cannot be loaded here is known before minutes go into a conversion.
  await loadSharp();
  await prepareOrt();
  const foreign = await findForeignFiles(resolved.model);
  const device = foreign ? foreignDevice(foreign, resolved) : await decideDevice(resolved);
  const packageDir = foreign ? resolved.model : await findOrConvert(resolved, device);
  const wanted = { ...resolved, device };
  const loaded = await loadModel(packageDir, wanted);
  if (signal?.aborted) {
    await unloadModel(loaded);
    throw signal.reason;
  }
  return new Qwen3Vl(loaded, {
    device,
    onWarning: resolved.onWarning,
    load: async (ending) => {
      await decideDevice({ ...wanted, signal: ending });
      const quiet = { onProgress: () => {}, onWarning: () => {} };
      return loadModel(packageDir, { ...wanted, ...quiet, signal: ending });
    },
  });
}

/** @returns the directory of the package */
async function findOrConvert(options: ResolvedLoadOptions, device: Device): Promise<string> {
  const usual = device === "cpu" ? await usualPrecision(options) : undefined;
  const precision = options.precision ?? usual;
  if (device === "cpu") {
    await checkCheckpointMemory(options, choosePrecision(precision, options.visionPrecision));
  }
  return ensurePackage({
    ...options,
    device: deviceKind(device),
    precision,
    int8Weights: await preferredInt8Weights(),
    onProgress: ({ doneBytes, totalBytes }) =>
      options.onProgress({ type: "convert", done: doneBytes, total: totalBytes }),
  });
}

/** Packages of other programs run on one only. @throws ModelLoadError for what cannot be had of them */
function foreignDevice(files: ForeignFiles, options: ResolvedLoadOptions): Device {
  const device = options.device === "auto" ? "cpu" : options.device;
  expectForeignChoices(files, { ...options, device });
  if (options.device === "auto") {
    options.onWarning("The device is cpu: packages that other programs made run on no other.");
  }
  return device;
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
    const chosen = await chooseUsualDevice(prove);
    signal?.throwIfAborted();
    onWarning(chosen.why);
    return chosen.device;
  }
  await openDevice(device);
  await prove(device);
  return device;
}

/** A model in this process: it keeps what it has computed, and can be told to compute ahead and to forget. */
export interface Qwen3VlModel extends VisionLanguageModel {
  decide<const Q extends readonly DecideQuestion[]>(
    request: DecideRequest<Q>,
  ): Promise<DecideResult<Q>>;
  warm(request: WarmRequest): Promise<void>;
  forget(request: ForgetRequest): Promise<ForgetResult>;
}

/** The model as its users see it: checks requests, hands them to the engine, ends everything in order. */
class Qwen3Vl implements Qwen3VlModel {
  readonly info: ModelInfo;
  readonly #generationDefaults: ModelParts["generationDefaults"];
  readonly #recovery: Recovery<LoadedModel>;
  readonly #disposal = sharedController();
  #disposing: Promise<void> | undefined;

  constructor(
    loaded: LoadedModel,
    recovery: Pick<RecoveryOptions<LoadedModel>, "device" | "load" | "onWarning">,
  ) {
    this.info = loaded.info;
    this.#generationDefaults = loaded.model.generationDefaults;
    this.#recovery = new Recovery({
      ...recovery,
      loaded,
      unload: unloadModel,
      loss: ({ loss }) => loss,
    });
  }

  get disposed(): boolean {
    return this.#disposing !== undefined;
  }

  health(): ModelHealth {
    return this.disposed ? { state: "disposed" } : this.#recovery.health;
  }

  stream(request: GenerateRequest): AsyncGenerator<StreamPart, void, void> {
    const resolved = resolveRequest(request, this.#generationDefaults, this.info);
    return channelParts((push, abandoned) =>
      this.#use((model, stop) => generate(model, resolved, push, stop), request.signal, abandoned),
    );
  }

  async generate(request: GenerateRequest): Promise<GenerateResult> {
    return collectStream(this.stream(request));
  }

  async decide<const Q extends readonly DecideQuestion[]>(
    request: DecideRequest<Q>,
  ): Promise<DecideResult<Q>> {
    const resolved = resolveDecide(request);
    let decisions: readonly Decision[] = [];
    await this.#use(async (model, stop) => {
      decisions = await decide(model, resolved, stop);
    }, request.signal);
    return { decisions: decisions as DecideResult<Q>["decisions"] };
  }

  async warm(request: WarmRequest): Promise<void> {
    const resolved = resolveWarmRequest(request, this.info);
    await this.#use((model, stop) => warm(model, resolved, stop), request.signal);
  }

  async forget(request: ForgetRequest): Promise<ForgetResult> {
    checkForgetRequest(request);
    // What was on a lost device is forgotten.
    const { loaded } = this.#recovery;
    return loaded ? forget(loaded.model, request) : { bytes: 0 };
  }

  dispose(): Promise<void> {
    this.#disposing ??= this.#dispose();
    return this.#disposing;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.dispose();
  }

  /** Work with the model that ends with any of the signals, and with this model. */
  async #use(
    work: (model: ModelParts, stop: Deadline) => Promise<void>,
    ...signals: readonly (AbortSignal | undefined)[]
  ): Promise<void> {
    const stop = startDeadline(undefined, this.#disposal.signal, ...signals);
    try {
      stop.signal.throwIfAborted();
      // Requests keep the order in which they came: nobody lets others pass for nothing.
      const loaded = this.#recovery.loaded ?? (await this.#recovery.use(stop.signal));
      await work(loaded.model, stop);
    } finally {
      stop.end();
    }
  }

  async #dispose(): Promise<void> {
    this.#disposal.abort(new DisposedError("The model"));
    const loaded = await this.#recovery.end();
    if (loaded) await unloadModel(loaded);
  }
}
