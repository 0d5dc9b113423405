// Which files of a repository are read. In: a listing, and the index of the shards once it is there. Out: files for a
// conversion, or graphs that another program made where there are no weights to convert. Pickled weights, GGUF and
// pictures of a model card stay where they are.

import { PullError } from "../errors.ts";
import { type ForeignGraphs, foreignGraphsIn } from "../foreign/foreign-files.ts";
import type { ListedFile, Listing } from "./hub.ts";
import { shownText } from "./shown-text.ts";

const SETTINGS = new Set([
  "config.json",
  "generation_config.json",
  "tokenizer.json",
  "tokenizer_config.json",
  "preprocessor_config.json",
  "processor_config.json",
  "chat_template.json",
  "chat_template.jinja",
]);
/** Of a LoRA: what is merged into another model. */
const ADAPTER = new Set(["adapter_config.json", "adapter_model.safetensors"]);
const SINGLE_FILE = "model.safetensors";
const INDEX_FILE = "model.safetensors.index.json";
const SHARD = /^model-\d{5}-of-\d{5}\.safetensors$/;

/** A tokenizer of 150 000 words has 11 MB; a "setting" of a hundred is none. */
const LARGEST_SETTING = 2 ** 26;

export interface NeededFiles {
  /** Small, and needed to know how much the rest takes. */
  readonly settings: readonly ListedFile[];
  /** Weights that are known by their usual names. */
  readonly weights: readonly ListedFile[];
  /** Names which files hold the weights; also one of `settings`. */
  readonly index: ListedFile | undefined;
  /** Graphs that another program made; only some of them are weights, which its settings tell. */
  readonly foreign: ForeignGraphs | undefined;
}

/** @throws PullError `model-not-found` where the repository holds no model that can be converted, or used as it is */
export function neededFiles({ files }: Listing, model: string, host: string): NeededFiles {
  const named = new Map(files.map((file) => [file.path, file]));
  const single = named.get(SINGLE_FILE);
  const index = single === undefined ? named.get(INDEX_FILE) : undefined;
  const shards = files.filter(({ path }) => SHARD.test(path));
  const adapter = files.filter(({ path }) => ADAPTER.has(path));
  const weights = single === undefined ? shards : [single];
  const isCheckpoint = weights.length > 0 || index !== undefined;
  const isAdapter = !isCheckpoint && adapter.length === ADAPTER.size;
  const foreign = isCheckpoint || isAdapter ? undefined : foreignGraphsIn(files);
  if (!isCheckpoint && !isAdapter && foreign === undefined) {
    throw nothingToConvert(model, host, named);
  }
  const settings = files.filter(({ path }) => SETTINGS.has(path));
  if (index !== undefined) settings.push(index);
  const large = settings.find(({ size }) => size > LARGEST_SETTING);
  if (large !== undefined) {
    throw new PullError(
      "hub-answer",
      `${host} says that ${large.path} of ${model} has ${large.size} bytes, which no such file has.`,
      { host, file: large.path },
    );
  }
  return { settings, weights: isAdapter ? adapter : weights, index, foreign };
}

/** The files that an index names, by name. @throws PullError `hub-answer` for one that is not in the repository */
export function indexedWeights(
  names: Iterable<string>,
  { files }: Listing,
  host: string,
): ListedFile[] {
  const named = new Map(files.map((file) => [file.path, file]));
  return [...new Set(names)].toSorted().map((name) => {
    const file = named.get(name);
    if (file !== undefined) return file;
    throw new PullError(
      "hub-answer",
      `${INDEX_FILE} names ${shownText(name)}, which ${host} does not list.`,
      { host, file: INDEX_FILE },
    );
  });
}

/** Some of the files of a listing, in the order of their paths here. */
export function listedFiles(paths: readonly string[], { files }: Listing): ListedFile[] {
  const named = new Map(files.map((file) => [file.path, file]));
  return paths.flatMap((path) => named.get(path) ?? []);
}

/** Only an adapter: there is nothing to convert yet. */
export function isAdapter({ weights }: Pick<NeededFiles, "weights">): boolean {
  return weights.some(({ path }) => ADAPTER.has(path));
}

function nothingToConvert(
  model: string,
  host: string,
  named: ReadonlyMap<string, ListedFile>,
): PullError {
  const has = (pattern: RegExp) => [...named.keys()].some((path) => pattern.test(path));
  const instead = has(/\.gguf$/i)
    ? "It holds GGUF files: name the repository that they were made from."
    : has(/\.(?:bin|pth|pt)$/i)
      ? "Its weights are pickled (.bin, .pth): ask its author for safetensors."
      : has(/\.onnx$/i)
        ? `It holds ONNX graphs ${has(/(?:^|\/)genai_config\.json$/) ? "for ONNX Runtime GenAI" : "that another program made"}, in another layout than mobius and onnx-community, which can be used as they are: pull the safetensors model that they were made from.`
        : "It has no model.safetensors and no shards of one.";
  return new PullError("model-not-found", `${model} on ${host} cannot be converted. ${instead}`, {
    host,
  });
}
