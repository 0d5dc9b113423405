// What the stored tensors say about a model by their names, shapes and number formats alone. In: headers. Out: facts
// that settle what config.json leaves open or tells wrongly. Reads no weights and no configuration.

import { canonicalName, EMBED_TOKENS, LM_HEAD, type NamedTensor } from "./tensor-names.ts";

/** Takes a sentence about something that was assumed, for the one warning that a person reads. */
export type Assume = (sentence: string) => void;

export interface StoredFacts {
  /** Values of one head: the length of `q_norm`. */
  readonly headSize?: number;
  /** Rows of the embedding table, or of the head where only that is stored. */
  readonly vocabularyRows?: number;
  readonly hasHead: boolean;
  /** A part of a product of the decoder whose weight nobody put together. */
  readonly strangePart?: string;
  /** An index promises a head that no file holds. */
  readonly promisesHead: boolean;
  /** Number formats of the tensors, such as `BF16`. */
  readonly dtypes: readonly string[];
  /** Quantised weights that can be read, by method. */
  readonly decoded: readonly string[];
  /** How other weights are quantised, and a tensor that shows it. */
  readonly quantized?: { readonly method: string; readonly tensor: string };
}

/** Endings that only quantised checkpoints have, and who writes them. */
const QUANTIZED_NAMES: readonly (readonly [ending: RegExp, method: string])[] = [
  [/\.(absmax|nested_absmax|quant_map|nested_quant_map|quant_state\..+)$/, "bitsandbytes"],
  [/\.(SCB|weight_format)$/, "bitsandbytes"],
  [/\.(qweight|qzeros|g_idx)$/, "gptq or awq"],
  [/\.(weight_packed|weight_shape|weight_zero_point|weight_g_idx)$/, "compressed-tensors"],
  [/\.(weight_scale|weight_scale_inv|weight_scale_2|input_scale|activation_scale)$/, "fp8"],
  [/\.(scales|biases|zeros|scale_weight)$/, "an unknown method"],
];

/** Of a product of the decoder; those of trainings that were never merged have errors of their own. */
const PRODUCT_PART =
  /^(.+\.layers\.\d+\.(?:self_attn|mlp)\.\w+_proj)\.(?!base_layer|lora_|modules_to_save|original_module)/;

/** Formats that weights have only after quantisation. */
const QUANTIZED_DTYPES: Readonly<Record<string, string>> = {
  ...{ F8_E4M3: "fp8", F8_E5M2: "fp8", F8_E8M0: "fp8" },
  ...{ U8: "4 or 8 bits", I8: "8 bits", U32: "packed bits", I32: "packed bits" },
};

/** @param promised names in the index, when there is one */
export function readStoredFacts(
  stored: Iterable<NamedTensor & { readonly quantized?: string | undefined }>,
  promised: Iterable<string> = [],
): StoredFacts {
  const dtypes = new Set<string>();
  const shapes = new Map<string, readonly number[]>();
  let quantized: StoredFacts["quantized"];
  const decoded = new Set<string>();
  for (const tensor of stored) {
    dtypes.add(tensor.dtype);
    if (tensor.quantized !== undefined) decoded.add(tensor.quantized);
    shapes.set(canonicalName(tensor.name), tensor.shape);
    quantized ??= quantizationOf(tensor);
  }
  const headSize = [...shapes].find(([name]) => name.endsWith(".self_attn.q_norm.weight"))?.[1][0];
  const vocabularyRows = (shapes.get(EMBED_TOKENS) ?? shapes.get(LM_HEAD))?.[0];
  return {
    ...(headSize === undefined ? {} : { headSize }),
    ...(vocabularyRows === undefined ? {} : { vocabularyRows }),
    hasHead: shapes.has(LM_HEAD),
    promisesHead:
      !shapes.has(LM_HEAD) && [...promised].some((name) => canonicalName(name) === LM_HEAD),
    dtypes: [...dtypes].sort(),
    decoded: [...decoded].sort(),
    ...(quantized === undefined ? {} : { quantized }),
    ...strangePartOf(shapes),
  };
}

function strangePartOf(shapes: ReadonlyMap<string, unknown>): Pick<StoredFacts, "strangePart"> {
  for (const name of shapes.keys()) {
    const module = PRODUCT_PART.exec(name)?.[1];
    if (module !== undefined && !shapes.has(`${module}.weight`)) return { strangePart: name };
  }
  return {};
}

export function quantizationOf({ name, dtype }: NamedTensor): StoredFacts["quantized"] {
  const byName = QUANTIZED_NAMES.find(([ending]) => ending.test(name))?.[1];
  // Integer buffers are no weights: position ids, counters.
  const byDtype = name.endsWith(".weight") ? QUANTIZED_DTYPES[dtype] : undefined;
  const method = byName ?? byDtype;
  return method === undefined ? undefined : { method, tensor: name };
}
