// A checkpoint directory as published: configuration, tokenizer files, weights. Out: parsed settings, every
// needed tensor under its canonical name, and which files matter. Knows nothing of ONNX.

import { readdir, readFile } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { ModelLoadError } from "../errors.ts";
import { parseConfig, type Qwen3VlConfig } from "./config.ts";
import { type GenerationDefaults, parseGenerationConfig } from "./generation-config.ts";
import { readJsonFile } from "./json-fields.ts";
import { type ImageProcessorConfig, parseImageProcessorConfig } from "./processor-config.ts";
import {
  INDEX_FILE,
  readShardIndex,
  Safetensors,
  SINGLE_FILE,
  type StoredTensor,
} from "./safetensors.ts";
import { resolveTensors } from "./tensor-names.ts";

/** Files beside the weights that a package keeps, in the order they are listed. */
const REQUIRED_FILES = ["config.json", "tokenizer.json", "tokenizer_config.json"];
const PROCESSOR_FILES = ["preprocessor_config.json", "processor_config.json"];
const OPTIONAL_FILES = ["generation_config.json", "chat_template.jinja", "chat_template.json"];

/** Settings of a model directory: a checkpoint, or the package made from it. */
export interface ModelSettings {
  readonly config: Qwen3VlConfig;
  /** generation_config.json with the fallbacks of an Instruct checkpoint. */
  readonly generation: GenerationDefaults;
  readonly processor: ImageProcessorConfig;
}

export interface CheckpointSource {
  /** `Qwen/Qwen3-VL-2B-Instruct` from the hub's cache, else the directory's name. */
  readonly name: string;
  /** Commit on the hub, when the download left a trace of it. */
  readonly revision?: string;
}

/** An open checkpoint; close it. */
export interface Checkpoint extends ModelSettings {
  readonly dir: string;
  readonly source: CheckpointSource;
  /** By canonical name. */
  readonly tensors: ReadonlyMap<string, StoredTensor>;
  readonly weights: Safetensors;
  /** Configuration and tokenizer files that are there, to be copied beside the graphs. */
  readonly settingsFiles: readonly string[];
  readonly weightFiles: readonly string[];
  close(): Promise<void>;
}

/**
 * Opens and checks a checkpoint directory without reading its weights.
 *
 * @throws ModelLoadError `model-files-missing` naming all missing files at once, `model-unsupported`,
 *   `model-corrupt`
 */
export async function openCheckpoint(dir: string): Promise<Checkpoint> {
  const present = new Set(await listDirectory(dir));
  const { files: weightFiles, missing: missingWeights } = await findWeights(dir, present);
  const missing = [...missingSettings(present), ...missingWeights];
  if (missing.length > 0) throw filesMissing(dir, missing);

  const settings = await readModelSettings(dir);
  const weights = await Safetensors.open(dir, weightFiles);
  try {
    if (!present.has(SINGLE_FILE)) await checkShardIndex(dir, weights);
    const source = await findSource(dir);
    return {
      ...settings,
      dir,
      source,
      weights,
      tensors: resolveTensors(settings.config, weights.tensors.values()),
      settingsFiles: [...REQUIRED_FILES, ...PROCESSOR_FILES, ...OPTIONAL_FILES].filter((file) =>
        present.has(file),
      ),
      weightFiles: present.has(SINGLE_FILE) ? weightFiles : [INDEX_FILE, ...weightFiles],
      close: () => weights.close(),
    };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/**
 * Reads config.json, generation_config.json and the processor files of a checkpoint or package.
 *
 * @param thinking does the checkpoint think? It changes fallbacks only. @default false
 * @throws ModelLoadError
 */
export async function readModelSettings(dir: string, thinking = false): Promise<ModelSettings> {
  const present = new Set(await listDirectory(dir));
  const missing = missingSettings(present);
  if (missing.length > 0) throw filesMissing(dir, missing);
  const read = async (file: string) =>
    present.has(file) ? await readJsonFile(dir, file) : undefined;

  const config = parseConfig(await read("config.json"), "config.json");
  const generation = parseGenerationConfig(
    await read("generation_config.json"),
    "generation_config.json",
    { thinking, eosTokenIds: config.text.eosTokenIds },
  );
  const processor = parseImageProcessorConfig({
    preprocessor: await read("preprocessor_config.json"),
    processor: await read("processor_config.json"),
  });
  checkPatchSizes(config, processor);
  return { config, generation, processor };
}

async function listDirectory(dir: string): Promise<string[]> {
  try {
    return await readdir(dir);
  } catch (cause) {
    throw new ModelLoadError("model-files-missing", `The model directory ${dir} cannot be read.`, {
      cause,
      modelDir: dir,
    });
  }
}

function missingSettings(present: ReadonlySet<string>): string[] {
  const missing = REQUIRED_FILES.filter((file) => !present.has(file));
  if (!PROCESSOR_FILES.some((file) => present.has(file))) missing.push(PROCESSOR_FILES[0] ?? "");
  return missing;
}

/** One file goes before an index, as in transformers. */
async function findWeights(
  dir: string,
  present: ReadonlySet<string>,
): Promise<{ files: string[]; missing: string[] }> {
  if (present.has(SINGLE_FILE)) return { files: [SINGLE_FILE], missing: [] };
  if (!present.has(INDEX_FILE))
    return { files: [], missing: [`${SINGLE_FILE} (or ${INDEX_FILE})`] };
  const shards = [...new Set((await readShardIndex(dir)).values())].sort();
  return { files: shards, missing: shards.filter((file) => !present.has(file)) };
}

function filesMissing(dir: string, missing: readonly string[]): ModelLoadError {
  return new ModelLoadError(
    "model-files-missing",
    `The model directory ${dir} lacks ${missing.join(", ")}.`,
    { modelDir: dir, missing },
  );
}

async function checkShardIndex(dir: string, weights: Safetensors): Promise<void> {
  for (const [name, file] of await readShardIndex(dir)) {
    if (weights.tensors.get(name)?.file !== file) {
      throw new ModelLoadError(
        "model-corrupt",
        `${INDEX_FILE} says that ${name} is in ${file}, and it is not.`,
        { modelDir: dir, missing: [name] },
      );
    }
  }
}

function checkPatchSizes({ vision }: Qwen3VlConfig, processor: ImageProcessorConfig): void {
  const pairs = [
    ["patch_size", vision.patchSize, processor.patchSize],
    ["temporal_patch_size", vision.temporalPatchSize, processor.temporalPatchSize],
    ["merge_size", vision.mergeSize, processor.mergeSize],
  ] as const;
  for (const [name, model, pictures] of pairs) {
    if (model !== pictures) {
      throw new ModelLoadError(
        "model-corrupt",
        `Expected ${name} of the image processor to be ${model} as in config.json, got ${pictures}.`,
      );
    }
  }
}

/** The hub's cache is `models--ORG--NAME/snapshots/COMMIT`; `--local-dir` leaves the commit in `.cache`. */
async function findSource(dir: string): Promise<CheckpointSource> {
  const path = resolve(dir);
  const snapshot = /^[0-9a-f]{40}$/.test(basename(path)) ? basename(path) : undefined;
  const repository = basename(dirname(dirname(path))).match(/^models--(.+)$/)?.[1];
  if (snapshot !== undefined && repository !== undefined) {
    return { name: repository.replace("--", "/"), revision: snapshot };
  }
  const revision = await readLocalRevision(path);
  return revision === undefined ? { name: basename(path) } : { name: basename(path), revision };
}

async function readLocalRevision(dir: string): Promise<string | undefined> {
  const file = join(dir, ".cache", "huggingface", "download", "config.json.metadata");
  try {
    return (await readFile(file, "utf8")).match(/^[0-9a-f]{40}(?=\s)/)?.[0];
  } catch {
    return undefined; // Not downloaded that way; the revision is a courtesy.
  }
}
