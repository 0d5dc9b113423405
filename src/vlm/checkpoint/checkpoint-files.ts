// The files of a checkpoint directory: which are needed, which hold the weights, and what to do when some are not
// there. In: names, and the index of the shards. Out: weight files, or an error with its remedy. Opens no weights.

import { ModelLoadError } from "../errors.ts";
import { INDEX_FILE, readShardIndex, SINGLE_FILE } from "./safetensors.ts";
import type { Assume } from "./stored-facts.ts";

/** Files beside the weights that a package keeps, in the order they are listed. */
const REQUIRED_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json"];
export const PREPROCESSOR_FILE = "preprocessor_config.json";
export const PROCESSOR_FILE = "processor_config.json";
const OPTIONAL_FILES = ["generation_config.json", "chat_template.jinja", "chat_template.json"];

const SHARD = /^model-(\d{5})-of-(\d{5})\.safetensors$/;
const ADAPTER_FILE = /^adapter_model\.(?:safetensors|bin)$/;
const PICKLED_FILE = /^pytorch_model.*\.bin$|^consolidated.*\.pth$/;

/** Where the weights are. */
export interface WeightFiles {
  readonly files: readonly string[];
  readonly missing: readonly string[];
  /** Tensor to file, as the index tells it; undefined when none is used. */
  readonly index?: ReadonlyMap<string, string>;
}

/** Settings and tokenizer files that are there, in a fixed order. */
export function settingsFiles(present: ReadonlySet<string>): string[] {
  return [...REQUIRED_FILES, PREPROCESSOR_FILE, PROCESSOR_FILE, ...OPTIONAL_FILES].filter((file) =>
    present.has(file),
  );
}

export function missingSettings(present: ReadonlySet<string>): string[] {
  const missing = REQUIRED_FILES.filter((file) => !present.has(file));
  if (!present.has(PREPROCESSOR_FILE) && !present.has(PROCESSOR_FILE)) {
    missing.push(PREPROCESSOR_FILE);
  }
  return missing;
}

/**
 * One file goes before an index, as in transformers; numbered shards are enough when all of them are there.
 *
 * @throws ModelLoadError `model-corrupt` for an index that cannot be used
 */
export async function findWeights(
  dir: string,
  present: ReadonlySet<string>,
  assume: Assume,
): Promise<WeightFiles> {
  const shards = [...present].filter((file) => SHARD.test(file)).sort();
  const tellUnused = (used: readonly string[], why: string) => {
    const unused = shards.filter((file) => !used.includes(file));
    if (unused.length > 0) assume(`${unused.join(", ")} is not read: ${why}.`);
  };
  if (present.has(SINGLE_FILE)) {
    tellUnused([], `${SINGLE_FILE} holds the weights`);
    return { files: [SINGLE_FILE], missing: [] };
  }
  if (!present.has(INDEX_FILE)) return numberedShards(shards, assume);
  const index = await readShardIndex(dir);
  const files = [...new Set(index.values())].sort();
  tellUnused(files, `${INDEX_FILE} does not name it`);
  return { files, missing: files.filter((file) => !present.has(file)), index };
}

function numberedShards(shards: readonly string[], assume: Assume): WeightFiles {
  const counts = new Set(shards.map((file) => SHARD.exec(file)?.[2] ?? ""));
  const [count] = counts;
  if (count === undefined || counts.size > 1) {
    return { files: [], missing: [`${SINGLE_FILE} (or ${INDEX_FILE})`] };
  }
  const files = Array.from(
    { length: Number(count) },
    (_, i) => `model-${String(i + 1).padStart(5, "0")}-of-${count}.safetensors`,
  );
  const missing = files.filter((file) => !shards.includes(file));
  if (missing.length === 0) {
    assume(
      `${INDEX_FILE} is missing: the ${shards.length} numbered files are all there and are read.`,
    );
  }
  return { files, missing };
}

/** Trained parts that lie beside the weights and are not part of them. */
export function tellLeftovers(present: ReadonlySet<string>, assume: Assume): void {
  const adapter = [...present].find((file) => ADAPTER_FILE.test(file));
  if (adapter !== undefined) {
    assume(
      `${adapter} is not applied: the weights beside it are taken as they are (--lora names a directory to merge).`,
    );
  }
}

/** What is missing, and where to get it. */
export function filesMissing(
  dir: string,
  present: ReadonlySet<string>,
  missing: readonly string[],
): ModelLoadError {
  return new ModelLoadError(
    "model-files-missing",
    `The model directory ${dir} lacks ${missing.join(", ")}. ${remedy(present, missing)}`,
    { modelDir: dir, missing },
  );
}

function remedy(present: ReadonlySet<string>, missing: readonly string[]): string {
  const names = [...present];
  const has = (pattern: RegExp) => names.some((file) => pattern.test(file));
  const weights = missing.some((file) => file.startsWith("model"));
  if (weights && has(ADAPTER_FILE)) {
    return "It holds a LoRA adapter and not a model: convert its base model with this directory as adapter (`napcat-vlm convert BASE --lora DIR`).";
  }
  if (weights && has(/\.gguf$/i)) {
    return "GGUF files cannot be read: use the safetensors checkpoint they were made from.";
  }
  if (weights && has(PICKLED_FILE)) {
    return "Its weights are pickled (.bin, .pth): save them as safetensors (`safe_serialization=True`).";
  }
  if (weights && has(/^genai_config\.json$|\.onnx$/)) {
    return (
      "It holds ONNX graphs that another program made: they cannot be converted, and only whole packages of the mobius and " +
      "onnx-community layouts can be loaded as they are. Use the safetensors checkpoint they were made from: it has DeepStack, " +
      "through which the model sees details, and most of them have not."
    );
  }
  if (weights) return "Download or save the weights again.";
  return "Copy what is missing from the base model this one was trained from; trainings leave these files as they are.";
}
