// The computing parts of a model on whichever device was asked for: eyes, decoder, slots, and how much the caches may
// hold there. In: a package. Out: parts for the loop, which are the same to it on every device.

import type { CacheFormat } from "../convert/cached-attention.ts";
import { runsAsOnCard } from "../convert/package-graphs.ts";
import { ModelLoadError } from "../errors.ts";
import { physicalCores } from "../runtime/cpu-threads.ts";
import { CudaDevice } from "../runtime/cuda-device.ts";
import { type DeviceKind, deviceKind, openDevice } from "../runtime/device.ts";
import type { SessionOptions } from "../runtime/session.ts";
import { allOrFailure } from "./all-or-failure.ts";
import { Decoder } from "./decoder.ts";
import type { DecoderBackend, SlotPool } from "./decoder-backend.ts";
import { DeviceDecoder, type DeviceDecoderOptions } from "./device-decoder.ts";
import { loadOnWebGpu } from "./load-webgpu.ts";
import {
  contextsThatFit,
  defaultCacheBytes,
  deviceContexts,
  deviceShares,
} from "./memory-share.ts";
import { decoderBytes, type OnnxPackage } from "./onnx-package.ts";
import { VisionEncoder } from "./vision-encoder.ts";

export interface BackendOptions {
  readonly session: SessionOptions;
  /** What the package was made for, where the device can compute that of another. @default the device's own kind */
  readonly madeFor?: DeviceKind;
  readonly contextTokens: number;
  readonly maxConcurrent: number | undefined;
  /** Most sequences on the CPU when nobody says how many. @default 8 */
  readonly mostConcurrent?: number | undefined;
  /** Of a graphics card; 90 % of what is free and no other model may still take when left out. */
  readonly deviceMemoryBytes: number | undefined;
  /** What caches on a card may hold, where somebody says so. @default a share of what is left there */
  readonly cacheBytes?: Partial<CacheShares> | undefined;
  readonly captureGraphs: boolean;
  /** As of the decoder: kernels of our own for the steps of few chats. @default true */
  readonly stepKernels?: DeviceDecoderOptions["stepKernels"] | undefined;
  /** Is told what is not as it could be, and why. */
  readonly onNote?: ((sentence: string) => void) | undefined;
  /** Of keys and values on the CPU. @default "fp32" */
  readonly kvPrecision?: CacheFormat | undefined;
  /** Other work that keeps a core busy meanwhile; when it fails, loading does. @default none */
  readonly beside?: Promise<unknown> | undefined;
  readonly onPart: (part: "vision-encoder" | "decoder") => void;
  /** Is given whatever has to end with the model, in the order of making. */
  readonly onMade: (dispose: () => Promise<void> | void) => void;
}

interface CacheShares {
  readonly features: number;
  readonly prefixes: number;
}

export interface Backend {
  readonly visionEncoder: Pick<VisionEncoder, "encode">;
  readonly decoder: DecoderBackend;
  readonly slots: SlotPool;
  /** What the caches may hold when nobody says so. */
  readonly cacheBytes: {
    readonly features: number;
    readonly prefixes: number;
    /** Prefixes that have no room on the device any more. @default 0: the device is the host */
    readonly hostPrefixes?: number;
  };
  /** Most tokens of a run, where a device computes longer ones wrongly. */
  readonly mostTokens: number;
  /** What makes its answers worse than those of the published model, for people. */
  readonly warnings?: readonly string[];
}

/** @throws ModelLoadError, DeviceError `device-memory` */
export async function loadBackend(model: OnnxPackage, options: BackendOptions): Promise<Backend> {
  const { device = "cpu" } = options.session;
  const madeFor = options.madeFor ?? deviceKind(device);
  expectDevice(model, madeFor);
  return runsAsOnCard(model.manifest.precision.decoder, madeFor)
    ? loadInDeviceForm(model, options)
    : device === "webgpu"
      ? loadOnWebGpu(model, options)
      : loadOnCpu(model, options);
}

async function loadOnCpu(model: OnnxPackage, options: BackendOptions): Promise<Backend> {
  const { session, contextTokens, maxConcurrent, onPart, onMade } = options;
  const made = <T extends { dispose(): Promise<void> }>(part: T): T => {
    onMade(() => part.dispose());
    return part;
  };
  onPart("vision-encoder");
  onPart("decoder");
  // Reading and packing the weights of one keeps no more than one core busy, and the decoder takes longest: whatever
  // shares its core makes the whole longer.
  const turn = physicalCores() > 2 ? undefined : options.beside;
  const [visionEncoder, decoder] = await allOrFailure(
    Promise.resolve(turn)
      .then(() => VisionEncoder.load(model, session))
      .then(made),
    Decoder.load(model, session, options.kvPrecision).then(made),
  );
  const fitting = contextsThatFit(contextTokens * decoder.tokenBytes);
  const count = maxConcurrent ?? Math.min(fitting, options.mostConcurrent ?? fitting);
  const slots = decoder.createSlots(count, contextTokens);
  onMade(() => slots.dispose());
  const [cacheBytes, mostTokens] = [defaultCacheBytes(), Number.POSITIVE_INFINITY];
  return { visionEncoder, decoder, slots, cacheBytes, mostTokens };
}

/** In the form for graphics cards, which the CPU can compute too. */
async function loadInDeviceForm(model: OnnxPackage, options: BackendOptions): Promise<Backend> {
  const { contextTokens, maxConcurrent, captureGraphs, onPart, onMade } = options;
  const { stepKernels = true, onNote, deviceMemoryBytes } = options;
  const device = await openDevice(options.session.device ?? "cpu");
  const card = device instanceof CudaDevice ? device : undefined;
  const budget = await card?.openBudget(deviceMemoryBytes);
  if (card && budget) {
    onMade(() => card.budgets.close(budget));
    const eyes = model.weightBytes - decoderBytes(model);
    budget.expectRoom(model.weightBytes, `the weights of ${model.name}`);
    budget.reserve(eyes, "the vision encoder");
  }
  const session = { ...options.session, budget };
  onPart("vision-encoder");
  const visionEncoder = await VisionEncoder.load(model, session);
  onMade(() => visionEncoder.dispose());
  onPart("decoder");
  const decoder = await DeviceDecoder.load(model, {
    ...session,
    captureGraphs,
    stepKernels,
    mostChats: maxConcurrent,
    onNote,
  });
  onMade(() => decoder.dispose());
  if (decoder.weightsInSession) budget?.reserve(decoderBytes(model), "the decoder");
  const contextBytes = contextTokens * decoder.tokenBytes;
  const fitting = budget
    ? deviceContexts(contextBytes, budget.remaining)
    : contextsThatFit(contextBytes);
  const slots = await decoder.createSlots(maxConcurrent ?? fitting, contextTokens);
  onMade(() => slots.dispose());
  const mostTokens = Number.POSITIVE_INFINITY;
  if (!card || !budget) {
    return { visionEncoder, decoder, slots, cacheBytes: defaultCacheBytes(), mostTokens };
  }
  const shares = { ...deviceShares(budget.remaining), ...options.cacheBytes };
  // Runs need room as well, and may have as much as the caches. What somebody gave a model is its own in any case.
  const further = 2 * (shares.features + shares.prefixes);
  card.budgets.settle(budget, deviceMemoryBytes === undefined ? further : undefined);
  const cacheBytes = { ...shares, hostPrefixes: defaultCacheBytes().prefixes };
  return { visionEncoder, decoder, slots, cacheBytes, mostTokens };
}

function expectDevice({ manifest, directory }: OnnxPackage, kind: DeviceKind): void {
  if (manifest.device === kind) return;
  throw new ModelLoadError(
    "model-unsupported",
    `${directory} is an ONNX package for ${manifest.device}, not for ${kind}. Name the checkpoint instead.`,
    { modelDir: directory },
  );
}
