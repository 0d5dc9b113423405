// The eyes: patches of one picture in, one row of features per image token out, DeepStack included.
// It knows nothing of files, prompts or caches.

import { join } from "node:path";
import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { type NamedValues, Session, type SessionOptions } from "../runtime/session.ts";
import { elementCount, Value } from "../runtime/value.ts";
import { withCpuSettings } from "./cpu-settings.ts";
import { atStage } from "./inference-error.ts";
import type { OnnxPackage } from "./onnx-package.ts";
import { visionInputs } from "./vision-inputs.ts";

/** The pixels of one picture; `ImageTensor` has them. */
export interface PatchGrid {
  /** (N, patch), merge block by merge block, N = gridHeight * gridWidth. Read only. */
  readonly pixelValues: Float32Array;
  /** In patches. */
  readonly gridHeight: number;
  readonly gridWidth: number;
}

/** What the decoder gets to see of one picture. T tokens, H = the decoder's hidden size, K DeepStack taps. */
export interface VisionFeatures {
  readonly tokens: number;
  /** (T, H): take the place of the embeddings of the picture's tokens. */
  readonly imageFeatures: Float32Array;
  /** (K, T, H): row k is added to the picture's tokens after decoder layer k. */
  readonly deepstack: Float32Array;
  readonly byteLength: number;
  /** Where they lie instead, when the decoder computes there too: f16, of the same shapes; the arrays are empty then. */
  readonly onDevice?: { readonly imageFeatures: Value; readonly deepstack: Value } | undefined;
}

/** A loaded vision encoder. */
export class VisionEncoder {
  readonly #session: Session;
  readonly #config: Qwen3VlConfig["vision"];
  /** Are the features those of a decoder for graphics cards? */
  readonly #halfPrecision: boolean;

  private constructor(session: Session, config: Qwen3VlConfig["vision"]) {
    this.#session = session;
    this.#config = config;
    this.#halfPrecision = session.outputs.some(({ type }) => type === "f16");
  }

  /** @throws ModelLoadError */
  static async load(model: OnnxPackage, options: SessionOptions = {}): Promise<VisionEncoder> {
    const file = join(model.directory, model.manifest.visionEncoder.file);
    const session = await Session.load(
      file,
      await withCpuSettings(options, model.manifest.int8Weights),
    );
    return new VisionEncoder(session, model.config.vision);
  }

  /**
   * Encodes one picture.
   *
   * @throws InferenceError `vision`; the signal's reason when aborted
   */
  encode(
    picture: PatchGrid,
    options: { readonly signal?: AbortSignal | undefined } = {},
  ): Promise<VisionFeatures> {
    return atStage("vision", options.signal, () => this.#encode(picture, options.signal));
  }

  /** Waits for pictures in progress. Calling it again is fine. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }

  async #encode(picture: PatchGrid, signal?: AbortSignal): Promise<VisionFeatures> {
    const { gridHeight, gridWidth, pixelValues } = picture;
    const { mergeSize, outHiddenSize, deepstackLayers, headSize } = this.#config;
    const aux = visionInputs(gridHeight, gridWidth, this.#config);
    const patches = aux.patches;
    const tokens = patches / (mergeSize * mergeSize);
    const taps = deepstackLayers.length;
    const shapes = {
      image_features: [tokens, outHiddenSize], // (T, H)
      deepstack_features: [taps, tokens, outHiddenSize], // (K, T, H)
    };
    const angles = [1, patches, headSize / 2];
    const inputs = {
      pixel_values: Value.of(pixelValues, [patches, pixelValues.length / patches]),
      pos_embed_indices: Value.of(aux.positionIndices, [4, patches]),
      pos_embed_weights: Value.of(aux.positionWeights, [4, patches]),
      rotary_cos: Value.of(aux.rotaryCos, angles),
      rotary_sin: Value.of(aux.rotarySin, angles),
    };
    try {
      return this.#halfPrecision
        ? await this.#encodeOnDevice(inputs, shapes, signal)
        : await this.#encodeToHost(inputs, shapes, signal);
    } finally {
      for (const value of Object.values(inputs)) value.dispose();
    }
  }

  async #encodeToHost(
    inputs: NamedValues,
    shapes: FeatureShapes,
    signal: AbortSignal | undefined,
  ): Promise<VisionFeatures> {
    const imageFeatures = new Float32Array(elementCount(shapes.image_features));
    const deepstack = new Float32Array(elementCount(shapes.deepstack_features));
    using image = Value.of(imageFeatures, shapes.image_features);
    using taps = Value.of(deepstack, shapes.deepstack_features);
    await this.#session.run(
      inputs,
      { image_features: image, deepstack_features: taps },
      { signal },
    );
    const byteLength = imageFeatures.byteLength + deepstack.byteLength;
    return { tokens: shapes.image_features[0]!, imageFeatures, deepstack, byteLength };
  }

  /** Features that the decoder takes from where they are computed. */
  async #encodeOnDevice(
    inputs: NamedValues,
    shapes: FeatureShapes,
    signal: AbortSignal | undefined,
  ): Promise<VisionFeatures> {
    const imageFeatures = await this.#session.allocateOnDevice("f16", shapes.image_features);
    const deepstack = await this.#session
      .allocateOnDevice("f16", shapes.deepstack_features)
      .catch((error: unknown) => {
        imageFeatures.dispose();
        throw error;
      });
    try {
      const outputs = { image_features: imageFeatures, deepstack_features: deepstack };
      await this.#session.run(inputs, outputs, { signal });
    } catch (error) {
      imageFeatures.dispose();
      deepstack.dispose();
      throw error;
    }
    const features = {
      tokens: shapes.image_features[0]!,
      imageFeatures: EMPTY,
      deepstack: EMPTY,
      byteLength: imageFeatures.byteLength + deepstack.byteLength,
      onDevice: { imageFeatures, deepstack },
    };
    unused.register(features, [imageFeatures, deepstack]);
    return features;
  }
}

interface FeatureShapes {
  readonly image_features: readonly number[];
  readonly deepstack_features: readonly number[];
}

const EMPTY = new Float32Array(0);

/** Features on a device belong to caches and sequences alike; whoever holds them last lets their memory go. */
const unused = new FinalizationRegistry<readonly Value[]>((values) => {
  for (const value of values) value.dispose();
});
