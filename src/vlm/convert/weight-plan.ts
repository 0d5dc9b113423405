// What the weights of a graph look like in its data file: one line for each weight, in file order. Written with the
// graph, followed by the weight writer. Holds names and places, no numbers.

import type { Int8Weights } from "./linear-layers.ts";
import type { ExternalTensor } from "./onnx-model.ts";

/** What goes into the external data file, in file order. `sources` are stacked along their rows. */
export type WeightPlan =
  | { readonly kind: "values"; readonly source: string; readonly target: ExternalTensor }
  | {
      readonly kind: "transposed";
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
    }
  | {
      readonly kind: "int8";
      /** Of the levels. */
      readonly form: Int8Weights;
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
      readonly scales: ExternalTensor;
    }
  | {
      readonly kind: "blocks";
      readonly bits: 4 | 8;
      /** Weights per scale. */
      readonly block: number;
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
      readonly scales: ExternalTensor;
    }
  | {
      /** 4-bit levels as the checkpoint stores them. */
      readonly kind: "stored-int4";
      readonly block: number;
      readonly sources: readonly string[];
      readonly target: ExternalTensor;
      readonly scales: ExternalTensor;
      readonly zeroPoints: ExternalTensor | undefined;
    };
