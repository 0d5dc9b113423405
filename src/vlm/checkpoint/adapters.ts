// LoRA adapters over an open checkpoint. In: directories as PEFT saves them, in the order in which they are merged. Out:
// the checkpoint with weights that read as merged ones. Nothing is written, and the weights stay where they are.

import { basename, resolve } from "node:path";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import {
  AdaptedWeight,
  AddedBias,
  type LastMatrices,
  ReplacedWeight,
  sizeOf,
} from "./adapted-weight.ts";
import { type AdapterConfig, parseAdapterConfig } from "./adapter-config.ts";
import { JsonFields, readJsonFile } from "./json-fields.ts";
import type { Checkpoint } from "./open-checkpoint.ts";
import { Safetensors, type StoredTensor } from "./safetensors.ts";
import { canonicalName, EMBED_TOKENS, LM_HEAD } from "./tensor-names.ts";
import { PlainWeight, type Weight } from "./weight.ts";

export const ADAPTER_CONFIG = "adapter_config.json";
export const ADAPTER_WEIGHTS = "adapter_model.safetensors";

/** `PATH.lora_A.weight`, while training `PATH.lora_A.default.weight`. */
const LORA =
  /^(?<module>.+)\.(?<part>lora_A|lora_B|lora_embedding_A|lora_embedding_B|lora_magnitude_vector)(?:\.(?!weight$|bias$)\w+)?(?:\.(?<kind>weight|bias))?$/;
/** Any other parameter of PEFT's. */
const UNKNOWN_PART = /\.(?:lora_\w+|token_adapter|trainable_tokens?_\w+|\w*adapter\w*)\./;

interface Module {
  readonly parts: Map<string, StoredTensor>;
}

/**
 * @param dirs merged one after the other
 * @throws ModelLoadError naming what is missing, what does not fit this model, and what cannot be merged
 */
export async function withAdapters(
  checkpoint: Checkpoint,
  dirs: readonly string[],
): Promise<Checkpoint> {
  const opened: Safetensors[] = [];
  let adapted = checkpoint;
  try {
    for (const dir of dirs) {
      await assertAdapter(dir);
      const config = parseAdapterConfig(
        new JsonFields(await readJsonFile(dir, ADAPTER_CONFIG), ADAPTER_CONFIG),
      );
      const file = await Safetensors.open(dir, [ADAPTER_WEIGHTS]);
      opened.push(file);
      adapted = new Merge(adapted, dir, config, file).checkpoint();
    }
  } catch (error) {
    for (const file of opened) await file.close();
    throw error;
  }
  const close = async () => {
    await checkpoint.close();
    for (const file of opened) await file.close();
  };
  return dirs.length === 0 ? checkpoint : { ...adapted, close };
}

async function assertAdapter(dir: string): Promise<void> {
  const size = async (file: string) => disk.fileSize(resolve(dir, file)).catch(() => undefined);
  const missing: string[] = [];
  for (const file of [ADAPTER_CONFIG, ADAPTER_WEIGHTS]) {
    if ((await size(file)) === undefined) missing.push(file);
  }
  if (missing.length === 0) return;
  const pickled = (await size("adapter_model.bin")) !== undefined;
  throw new ModelLoadError(
    "model-files-missing",
    `The adapter directory ${dir} lacks ${missing.join(", ")}. ` +
      (pickled
        ? "Its weights are pickled (.bin): save them as safetensors."
        : "Name the directory that PEFT's save_pretrained wrote."),
    { modelDir: dir, missing },
  );
}

/** One adapter over one checkpoint. */
class Merge {
  readonly #base: Checkpoint;
  readonly #dir: string;
  readonly #config: AdapterConfig;
  readonly #file: Safetensors;
  readonly #tensors: Map<string, Weight>;
  readonly #last: LastMatrices = {};
  /** Of parts that are trained, by the module's path. */
  readonly #modules = new Map<string, Module>();

  constructor(base: Checkpoint, dir: string, config: AdapterConfig, file: Safetensors) {
    this.#base = base;
    this.#dir = dir;
    this.#config = config;
    this.#file = file;
    this.#tensors = new Map(base.tensors);
  }

  checkpoint(): Checkpoint {
    const whole: StoredTensor[] = [];
    for (const tensor of this.#file.tensors.values()) {
      if (!this.#addPart(tensor)) whole.push(tensor);
    }
    const tied = this.#untie(whole);
    for (const tensor of whole) this.#replace(tensor);
    for (const [module, { parts }] of this.#modules) this.#merge(module, parts);
    if (this.#file.tensors.size === 0) throw this.#refuse("it holds no tensors");
    const name = basename(resolve(this.#dir));
    return {
      ...this.#base,
      tensors: this.#tensors,
      config: { ...this.#base.config, tiedEmbeddings: tied },
      adapters: [
        ...this.#base.adapters,
        { name, dir: this.#dir, files: [ADAPTER_CONFIG, ADAPTER_WEIGHTS] },
      ],
    };
  }

  #addPart(tensor: StoredTensor): boolean {
    const found = LORA.exec(tensor.name)?.groups;
    if (found === undefined) {
      if (UNKNOWN_PART.test(tensor.name)) throw this.#refuse(`${tensor.name} is no part of a LoRA`);
      return false;
    }
    const module = found.module ?? "";
    const part = found.kind === "bias" ? `${found.part}.bias` : (found.part ?? "");
    const { parts } = this.#modules.get(module) ?? { parts: new Map<string, StoredTensor>() };
    if (parts.has(part)) throw this.#refuse(`${part} of ${module} is there twice`);
    parts.set(part, tensor);
    this.#modules.set(module, { parts });
    return true;
  }

  /** Of tied embeddings only the one that was trained changes: the model has two tables from then on. */
  #untie(whole: readonly StoredTensor[]): boolean {
    const { tiedEmbeddings } = this.#base.config;
    if (!tiedEmbeddings) return false;
    const named = [
      ...whole.map(({ name }) => weightName(name)),
      ...[...this.#modules.keys()].map((module) => weightName(`${module}.weight`)),
    ];
    const trainsHead = named.includes(LM_HEAD);
    if (!trainsHead && (!named.includes(EMBED_TOKENS) || this.#config.keepsTie)) return true;
    const table = this.#tensors.get(EMBED_TOKENS);
    if (table !== undefined) this.#tensors.set(LM_HEAD, table);
    return false;
  }

  #replace(tensor: StoredTensor): void {
    const name = weightName(tensor.name);
    const base = this.#find(name, tensor.name);
    const trained = new PlainWeight(this.#file, tensor);
    if (sizeOf(base) !== sizeOf(trained) || base.shape[0] !== trained.shape[0]) {
      throw this.#misfit(tensor, base);
    }
    this.#tensors.set(name, new ReplacedWeight(base, trained));
  }

  #merge(module: string, parts: ReadonlyMap<string, StoredTensor>): void {
    const turned = parts.has("lora_embedding_A");
    const [a, b] = turned
      ? [parts.get("lora_embedding_A"), parts.get("lora_embedding_B")]
      : [parts.get("lora_A"), parts.get("lora_B")];
    if (a === undefined || b === undefined) throw this.#refuse(`${module} has one matrix of two`);
    const magnitude = parts.get("lora_magnitude_vector");
    const name = weightName(`${module}.weight`);
    const base = this.#find(name, module);
    const rank = a.shape[0] ?? 0;
    const [rows = 1] = base.shape;
    const columns = sizeOf(base) / rows;
    const [down, across] = turned ? [columns, rows] : [rows, columns];
    if (countOf(a) !== rank * across) throw this.#misfit(a, base);
    if (countOf(b) !== rank * down || b.shape[0] !== down) throw this.#misfit(b, base);
    if (turned && magnitude !== undefined) {
      throw this.#refuse(`DoRA on embeddings (${module}) scales columns, which is not known here`);
    }
    if (this.#config.dora !== (magnitude !== undefined)) {
      throw this.#refuse(`use_dora and the parts of ${module} do not go together`);
    }
    if (magnitude !== undefined && countOf(magnitude) !== rows) throw this.#misfit(magnitude, base);
    const alpha = this.#config.alphaOf(module.replace(/^base_model\.model\./, ""));
    const scaling = alpha / (this.#config.rankStabilized ? Math.sqrt(rank) : rank);
    const merged = { a, b, magnitude, scaling, turned };
    this.#tensors.set(name, new AdaptedWeight(base, this.#file, merged, this.#last));
    const bias = parts.get("lora_B.bias");
    if (bias !== undefined) this.#addBias(module, bias, scaling);
  }

  #addBias(module: string, bias: StoredTensor, scaling: number): void {
    const name = weightName(`${module}.bias`);
    const base = this.#find(name, bias.name);
    if (countOf(bias) !== sizeOf(base)) throw this.#misfit(bias, base);
    const trained = new PlainWeight(this.#file, bias);
    this.#tensors.set(name, new AddedBias(base, trained, scaling));
  }

  #find(name: string, stored: string): Weight {
    const base = this.#tensors.get(name);
    if (base === undefined) throw this.#refuse(`this model has no ${name} (${stored})`);
    if (base.int4 === undefined) return base;
    throw this.#refuse(
      `${name} is stored in 4 bits (${base.quantized}), and the merged weight would have to be quantised again; ` +
        "use the bf16 base model",
    );
  }

  #misfit({ name, shape }: StoredTensor, base: Weight): ModelLoadError {
    return this.#refuse(
      `${name} is [${shape.join(", ")}] and does not fit the [${base.shape.join(", ")}] of this model; ` +
        "it was trained on another one, or its vocabulary was changed",
    );
  }

  #refuse(why: string): ModelLoadError {
    return new ModelLoadError(
      "model-unsupported",
      `The adapter ${basename(resolve(this.#dir))} cannot be merged: ${why}.`,
      { modelDir: this.#dir },
    );
  }
}

/** The name in the model of a parameter as PEFT saves it, with or without what it wraps around a module. */
function weightName(stored: string): string {
  return canonicalName(stored.replace(/\.(?:base_layer|modules_to_save(?:\.\w+)?)(?=\.)/g, ""));
}

function countOf({ shape }: StoredTensor): number {
  return shape.reduce((product, size) => product * size, 1);
}
