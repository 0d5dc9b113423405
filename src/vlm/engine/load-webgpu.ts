// The computing parts of a model on WebGPU, whose memory only its runs can reach, and which says nothing where there is
// too little of it: what is needed is tried beforehand, what was taken is tried afterwards. In: a package for WebGPU.
// Out: parts for the loop.

import type { Precision } from "../convert/linear-layers.ts";
import { isDevicePrecision } from "../convert/package-graphs.ts";
import { DeviceError } from "../errors.ts";
import { Decoder } from "./decoder.ts";
import type { Backend, BackendOptions } from "./load-backend.ts";
import { contextsThatFit, defaultCacheBytes } from "./memory-share.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { VisionEncoder } from "./vision-encoder.ts";
import { webGpuMostTokens } from "./webgpu-attention.ts";
import { WebGpuMemory } from "./webgpu-memory.ts";
import { keepShaders } from "./webgpu-shaders.ts";
import { WebGpuSlots } from "./webgpu-slots.ts";

/** Of a weight of the head, where it has more than 8 bits. */
const HEAD_BYTES: Readonly<Partial<Record<Precision, number>>> = { fp32: 4, fp16: 2 };

/** @throws ModelLoadError, DeviceError `device-memory` */
export async function loadOnWebGpu(model: OnnxPackage, options: BackendOptions): Promise<Backend> {
  const { session, contextTokens, onPart, onMade } = options;
  const { name } = model.manifest.source;
  await keepShaders();
  const type = isDevicePrecision(model.manifest.precision.decoder) ? "f16" : "f32";
  const memory = await WebGpuMemory.load("webgpu", type);
  try {
    const weights = model.weightBytes;
    await memory.expectRoom(weights, largestTensor(model), `the weights of ${name}`);
    onPart("vision-encoder");
    const visionEncoder = await VisionEncoder.load(model, session);
    onMade(() => visionEncoder.dispose());
    onPart("decoder");
    const decoder = await Decoder.load(model, session);
    onMade(() => decoder.dispose());
    const contextBytes = contextTokens * decoder.tokenBytes;
    const count = contexts(options, weights, contextBytes);
    const slots = await decoder.createSlotsOnWebGpu(count, contextTokens);
    onMade(() => slots.dispose());
    await memory.expect(slots.values, `keys and values of ${count} contexts`);
    const { features, prefixes: hostPrefixes } = defaultCacheBytes();
    // What is kept lies on the device: no more of it than of what is in use.
    const prefixes = Math.min(hostPrefixes, slots.byteLength);
    const cacheBytes = { features, prefixes, hostPrefixes };
    const mostTokens = await webGpuMostTokens(type);
    return { visionEncoder, decoder, slots, cacheBytes, mostTokens };
  } finally {
    await memory.dispose();
  }
}

/** As many as were asked for, or fit; `deviceMemoryBytes` bounds them together with the weights. */
function contexts(
  { maxConcurrent, deviceMemoryBytes }: BackendOptions,
  weights: number,
  contextBytes: number,
): number {
  const allowed =
    deviceMemoryBytes === undefined
      ? Number.POSITIVE_INFINITY
      : Math.floor((deviceMemoryBytes - weights) / contextBytes);
  const fitting = allowed > 2 ? allowed - 1 : 1; // One more than slots, where there are several.
  const count = maxConcurrent ?? Math.min(contextsThatFit(contextBytes), fitting);
  if (WebGpuSlots.rows(count) <= allowed) return count;
  throw new DeviceError(
    "device-memory",
    `deviceMemoryBytes is ${deviceMemoryBytes}, and ${weights} bytes of weights with ${WebGpuSlots.rows(count)} contexts of ` +
      `${contextBytes} bytes are more. Use a smaller context or fewer slots, or raise deviceMemoryBytes.`,
  );
}

/** The head: as many rows as there are words. */
function largestTensor({ config, manifest }: OnnxPackage): number {
  const bytes = HEAD_BYTES[manifest.precision.decoder] ?? 1;
  return config.text.vocabSize * config.text.hiddenSize * bytes;
}
