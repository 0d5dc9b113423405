// The eyes of a package that another program made: patches of one picture in, features out, DeepStack included where the
// graph has it. Positions and rotations are the graph's own affair; it is told how many patches there are.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { ForeignGraph } from "../foreign/foreign-files.ts";
import type { Session, SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import { FloatOutput, floatInput } from "./float-values.ts";
import { FLOATS, floatType, hasTensor, loadForeignGraph } from "./foreign-graph.ts";
import { atStage } from "./inference-error.ts";
import type { PatchGrid, VisionFeatures } from "./vision-encoder.ts";

const NO_FEATURES = new Float32Array(0);

/** A loaded vision encoder. */
export class ForeignVisionEncoder {
  /** Does it give DeepStack features? */
  readonly hasDeepstack: boolean;
  readonly #session: Session;
  readonly #vision: Qwen3VlConfig["vision"];

  private constructor(session: Session, vision: Qwen3VlConfig["vision"]) {
    this.#session = session;
    this.#vision = vision;
    this.hasDeepstack = hasTensor(session.outputs, "deepstack_features");
  }

  /** @throws ModelLoadError */
  static async load(
    directory: string,
    graph: ForeignGraph,
    { vision }: Qwen3VlConfig,
    options: SessionOptions,
  ): Promise<ForeignVisionEncoder> {
    const { inChannels, temporalPatchSize, patchSize, outHiddenSize, deepstackLayers } = vision;
    const patch = inChannels * temporalPatchSize * patchSize ** 2;
    const form = {
      inputs: {
        pixel_values: { types: FLOATS, dims: ["any", patch] },
        image_grid_thw: { types: ["i64"], dims: ["any", 3] },
      },
      outputs: {
        image_features: { types: FLOATS, dims: ["any", outHiddenSize] },
        deepstack_features: {
          types: FLOATS,
          dims: [deepstackLayers.length, "any", outHiddenSize],
          optional: true,
        },
      },
    } as const;
    return new ForeignVisionEncoder(
      await loadForeignGraph(directory, graph, form, options),
      vision,
    );
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
    const { mergeSize, outHiddenSize, deepstackLayers } = this.#vision;
    const { inputs, outputs } = this.#session;
    const patches = gridHeight * gridWidth;
    const tokens = patches / mergeSize ** 2;
    const taps = this.hasDeepstack ? deepstackLayers.length : 0;
    const image = new FloatOutput(floatType(outputs, "image_features"));
    const deepstack = new FloatOutput(floatType(outputs, "deepstack_features"));
    const given = {
      pixel_values: floatInput(floatType(inputs, "pixel_values"), pixelValues, [
        patches,
        pixelValues.length / patches,
      ]),
      image_grid_thw: Value.of(BigInt64Array.of(1n, BigInt(gridHeight), BigInt(gridWidth)), [1, 3]),
    };
    const wanted = {
      image_features: image.value([tokens, outHiddenSize]),
      ...(taps > 0 ? { deepstack_features: deepstack.value([taps, tokens, outHiddenSize]) } : {}),
    };
    try {
      await this.#session.run(given, wanted, { signal });
    } finally {
      for (const value of Object.values({ ...given, ...wanted })) value.dispose();
    }
    const features = {
      imageFeatures: image.read(0, tokens * outHiddenSize),
      deepstack: taps > 0 ? deepstack.read(0, taps * tokens * outHiddenSize) : NO_FEATURES,
    };
    const byteLength = features.imageFeatures.byteLength + features.deepstack.byteLength;
    return { tokens, ...features, byteLength };
  }
}
