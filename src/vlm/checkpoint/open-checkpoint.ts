// A checkpoint directory as published: configuration, tokenizer files, weights. Out: parsed settings, every
// needed tensor under its canonical name, and which files matter. Knows nothing of ONNX.

import { readdir } from "node:fs/promises";
import { basename, dirname, join, resolve } from "node:path";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { assembleWeights } from "./assemble-weights.ts";
import {
  filesMissing,
  findWeights,
  missingSettings,
  PREPROCESSOR_FILE,
  PROCESSOR_FILE,
  settingsFiles,
  tellLeftovers,
  type WeightFiles,
} from "./checkpoint-files.ts";
import { type ConfigContext, parseConfig, type Qwen3VlConfig } from "./config.ts";
import { type GenerationDefaults, parseGenerationConfig } from "./generation-config.ts";
import { JsonFields, readJsonFile } from "./json-fields.ts";
import { type ImageProcessorConfig, parseImageProcessorConfig } from "./processor-config.ts";
import { parseQuantizationConfig, type QuantizationConfig } from "./quantization-config.ts";
import { INDEX_FILE, Safetensors } from "./safetensors.ts";
import { sameContent } from "./same-content.ts";
import { type Assume, quantizationOf, readStoredFacts } from "./stored-facts.ts";
import {
  canonicalName,
  EMBED_TOKENS,
  expectedTensors,
  LM_HEAD,
  resolveTensors,
} from "./tensor-names.ts";
import type { Weight } from "./weight.ts";

/** Settings of a model directory: a checkpoint, or the package made from it. */
export interface ModelSettings {
  readonly config: Qwen3VlConfig;
  /** generation_config.json with the fallbacks of an Instruct checkpoint. */
  readonly generation: GenerationDefaults;
  readonly processor: ImageProcessorConfig;
  /** Sentences about what the files left open or told wrongly, and what was assumed; empty for a sound directory. */
  readonly assumptions: readonly string[];
}

export interface CheckpointSource {
  /** `Qwen/Qwen3-VL-2B-Instruct` from the hub's cache, else the directory's name. */
  readonly name: string;
  /** Commit on the hub, when the download left a trace of it. */
  readonly revision?: string;
}

/** A LoRA that is merged into the weights while they are read. */
export interface AdapterSource {
  readonly name: string;
  readonly dir: string;
  readonly files: readonly string[];
}

/** An open checkpoint; close it. */
export interface Checkpoint extends ModelSettings {
  readonly dir: string;
  readonly source: CheckpointSource;
  /** By canonical name. */
  readonly tensors: ReadonlyMap<string, Weight>;
  /** Configuration and tokenizer files that are there, to be copied beside the graphs. */
  readonly settingsFiles: readonly string[];
  readonly weightFiles: readonly string[];
  /** In the order of merging. */
  readonly adapters: readonly AdapterSource[];
  close(): Promise<void>;
}

/** Files of weights that will come into a directory; their headers are known. */
export interface ComingWeights {
  readonly names: readonly string[];
  open(files: readonly string[]): Promise<Safetensors>;
}

/**
 * Opens and checks a checkpoint directory without reading its weights.
 *
 * @throws ModelLoadError `model-files-missing` naming all missing files at once, `model-unsupported`,
 *   `model-corrupt`
 */
export async function openCheckpoint(dir: string, coming?: ComingWeights): Promise<Checkpoint> {
  const assumptions: string[] = [];
  const assume: Assume = (sentence) => assumptions.push(sentence);
  const present = new Set([...(await listDirectory(dir)), ...(coming?.names ?? [])]);
  const found = await findWeights(dir, present, assume);
  const missing = [...missingSettings(present), ...found.missing];
  if (missing.length > 0) {
    throw filesMissing(dir, new Set([...present, ...(await otherGraphs(dir))]), missing);
  }
  tellLeftovers(present, assume);

  const open = coming?.open ?? ((files) => Safetensors.open(dir, files));
  const weights = await open(found.files);
  try {
    const whole = await assembleWeights(weights, await readQuantization(dir, weights));
    const stored = readStoredFacts(whole, found.index?.keys());
    const settings = await readSettings(dir, present, { stored, assume });
    checkShardIndex(dir, found, weights, settings.config);
    const tensors = resolveTensors(settings.config, whole, assume);
    if (settings.config.tiedEmbeddings) await tellOtherHead(weights, tensors, assume);
    return {
      ...settings,
      assumptions,
      dir,
      source: await findSource(dir),
      tensors,
      adapters: [],
      settingsFiles: settingsFiles(present),
      weightFiles: found.index === undefined ? found.files : [INDEX_FILE, ...found.files],
      close: () => weights.close(),
    };
  } catch (error) {
    await weights.close();
    throw error;
  }
}

/**
 * Reads config.json, generation_config.json and the processor files of a package, or of a checkpoint.
 *
 * @param thinking does the checkpoint think? It changes fallbacks only. @default false
 * @param weightsComing a checkpoint that may be quantised: its weights will settle that. @default false
 * @throws ModelLoadError
 */
export async function readModelSettings(
  dir: string,
  { thinking = false, weightsComing = false } = {},
): Promise<ModelSettings> {
  const assumptions: string[] = [];
  const present = new Set(await listDirectory(dir));
  const missing = missingSettings(present);
  if (missing.length > 0) throw filesMissing(dir, present, missing);
  const assume: Assume = (sentence) => assumptions.push(sentence);
  return {
    ...(await readSettings(dir, present, { assume, thinking, weightsComing })),
    assumptions,
  };
}

/** What lies in folders where other programs put their graphs; our own packages have folders of their own in one of them. */
async function otherGraphs(dir: string): Promise<readonly string[]> {
  const folders = ["onnx", "decoder", "model"].map((name) => join(dir, name));
  const names = await Promise.all(folders.map((folder) => listDirectory(folder).catch(() => [])));
  return names.flat();
}

async function readSettings(
  dir: string,
  present: ReadonlySet<string>,
  context: ConfigContext & { readonly assume: Assume; readonly thinking?: boolean },
): Promise<Omit<ModelSettings, "assumptions">> {
  const { assume, thinking = false } = context;
  const read = async (file: string) =>
    present.has(file) ? await readJsonFile(dir, file) : undefined;
  const config = parseConfig(await read("config.json"), "config.json", context);
  const generation = parseGenerationConfig(
    await read("generation_config.json").catch((error: unknown) => {
      if (!(error instanceof ModelLoadError)) throw error;
      assume(`${error.message} The usual settings are used instead.`);
      return undefined;
    }),
    "generation_config.json",
    { thinking, eosTokenIds: config.text.eosTokenIds, assume },
  );
  const preprocessor = await read(PREPROCESSOR_FILE);
  const processor = await read(PROCESSOR_FILE);
  if (preprocessor === undefined && !hasImagePart(processor)) {
    throw filesMissing(dir, present, [PREPROCESSOR_FILE]);
  }
  const pictures = parseImageProcessorConfig({ preprocessor, processor });
  checkPatchSizes(config, pictures);
  return { config, generation, processor: pictures };
}

/** Settings left behind by a merged training are of no interest: plain weights are read as they are. */
async function readQuantization(
  dir: string,
  weights: Safetensors,
): Promise<QuantizationConfig | undefined> {
  if ([...weights.tensors.values()].every((tensor) => quantizationOf(tensor) === undefined)) {
    return undefined;
  }
  const config = await readJsonFile(dir, "config.json");
  return parseQuantizationConfig(new JsonFields(config, "config.json"));
}

/** transformers 5 nests the image part in processor_config.json; older files of that name have none. */
function hasImagePart(processor: unknown): boolean {
  return typeof processor === "object" && processor !== null && "image_processor" in processor;
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

/** An index may name what the model has no use for, such as the head of tied embeddings; nothing else. */
function checkShardIndex(
  dir: string,
  { index = new Map() }: WeightFiles,
  weights: Safetensors,
  config: Qwen3VlConfig,
): void {
  const needed = new Set(expectedTensors(config).map(({ name }) => name));
  for (const [name, file] of index) {
    const stored = weights.tensors.get(name);
    if (stored?.file === file || (stored === undefined && !needed.has(canonicalName(name)))) {
      continue;
    }
    throw new ModelLoadError(
      "model-corrupt",
      `${INDEX_FILE} says that ${name} is in ${file}, and it is not.`,
      { modelDir: dir, missing: [name] },
    );
  }
}

/** Tied checkpoints may store the head as well. When it says something else than the table, people should know. */
async function tellOtherHead(
  weights: Safetensors,
  tensors: ReadonlyMap<string, Weight>,
  assume: Assume,
): Promise<void> {
  const head = [...weights.tensors.values()].find(({ name }) => canonicalName(name) === LM_HEAD);
  const embedding = tensors.get(EMBED_TOKENS)?.plain;
  if (head === undefined || embedding === undefined || head === embedding) return;
  if (await sameContent(weights, head, embedding)) return;
  assume(
    `${head.name} is stored, differs from ${embedding.name} and is left out, because tie_word_embeddings is true. ` +
      "If it was trained, set tie_word_embeddings to false.",
  );
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
export async function findSource(dir: string): Promise<CheckpointSource> {
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
    return (await disk.readText(file)).match(/^[0-9a-f]{40}(?=\s)/)?.[0];
  } catch {
    return undefined; // Not downloaded that way; the revision is a courtesy.
  }
}
