// The embeddings of tokens from a graph that another program made. Some such graphs put the features of pictures in as well:
// here they are given none, as the same features are needed again by every chunk of a prompt that reaches into a picture.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import type { ForeignGraph } from "../foreign/foreign-files.ts";
import type { Session, SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";
import { FloatOutput, floatInput } from "./float-values.ts";
import { FLOATS, floatType, hasTensor, loadForeignGraph } from "./foreign-graph.ts";

/** A loaded embedding table. */
export class EmbeddingGraph {
  readonly #session: Session;
  readonly #config: Qwen3VlConfig;
  readonly #output: FloatOutput;

  private constructor(session: Session, config: Qwen3VlConfig) {
    this.#session = session;
    this.#config = config;
    this.#output = new FloatOutput(floatType(session.outputs, "inputs_embeds"));
  }

  /** @throws ModelLoadError */
  static async load(
    directory: string,
    graph: ForeignGraph,
    config: Qwen3VlConfig,
    options: SessionOptions,
  ): Promise<EmbeddingGraph> {
    const { hiddenSize } = config.text;
    const taps = config.vision.deepstackLayers.length;
    const form = {
      inputs: {
        input_ids: { types: ["i64"], dims: ["any", "any"] },
        image_features: { types: FLOATS, dims: ["any", hiddenSize], optional: true },
        deepstack_features: { types: FLOATS, dims: [taps, "any", hiddenSize], optional: true },
      },
      outputs: { inputs_embeds: { types: FLOATS, dims: ["any", "any", hiddenSize] } },
    } as const;
    return new EmbeddingGraph(await loadForeignGraph(directory, graph, form, options), config);
  }

  /**
   * The rows of some tokens; those of a picture's tokens are of no meaning.
   *
   * @returns (ids.length, hidden), until the next call
   */
  async read(ids: Int32Array, signal: AbortSignal | undefined): Promise<Float32Array> {
    const { imageTokenId, videoTokenId, text, vision } = this.#config;
    const { inputs } = this.#session;
    const tokens = ids.length;
    // A token of a picture would ask for a row of its features.
    const plain = BigInt64Array.from(ids, (id) =>
      id === imageTokenId || id === videoTokenId ? 0n : BigInt(id),
    );
    const none = (name: string, dims: readonly number[]) =>
      hasTensor(inputs, name)
        ? {
            [name]: floatInput(
              floatType(inputs, name),
              new Float32Array(dims.reduce((product, size) => product * size, 1)),
              dims,
            ),
          }
        : {};
    const given = {
      input_ids: Value.of(plain, [1, tokens]),
      ...none("image_features", [1, text.hiddenSize]),
      ...none("deepstack_features", [vision.deepstackLayers.length, 1, text.hiddenSize]),
    };
    const wanted = { inputs_embeds: this.#output.value([1, tokens, text.hiddenSize]) };
    try {
      await this.#session.run(given, wanted, { signal });
    } finally {
      for (const value of Object.values({ ...given, ...wanted })) value.dispose();
    }
    return this.#output.read(0, tokens * text.hiddenSize);
  }

  /** Waits for runs in progress. Calling it again is fine. */
  dispose(): Promise<void> {
    return this.#session.dispose();
  }
}
