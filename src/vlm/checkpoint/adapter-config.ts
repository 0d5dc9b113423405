// adapter_config.json of a LoRA as PEFT saves it. In: the file. Out: what merging needs, or an error that names what
// cannot be merged: an option that is not known here is never ignored. Reads no tensors.

import { ModelLoadError } from "../errors.ts";
import type { JsonFields } from "./json-fields.ts";

export interface AdapterConfig {
  readonly dora: boolean;
  /** With it alpha is divided by the root of the rank. */
  readonly rankStabilized: boolean;
  /** The head goes on being the embedding table when that is trained. */
  readonly keepsTie: boolean;
  /** Of a module by its path in the model, `model.language_model.layers.0.self_attn.q_proj`. */
  alphaOf(module: string): number;
}

/** Options that say what was trained and how; what came of it is in the tensors. */
const ABOUT_TRAINING = [
  ...[
    "peft_type",
    "peft_version",
    "task_type",
    "auto_mapping",
    "base_model_name_or_path",
    "revision",
  ],
  ...[
    "inference_mode",
    "r",
    "rank_pattern",
    "target_modules",
    "exclude_modules",
    "lora_dropout",
    "bias",
  ],
  ...[
    "modules_to_save",
    "layers_to_transform",
    "layers_pattern",
    "lora_bias",
    "megatron_core",
    "megatron_config",
  ],
  ...["fan_in_fan_out", "eva_config", "loftq_config", "qalora_group_size", "runtime_config"],
];
/** Options that are read here. */
const READ = [
  "lora_alpha",
  "alpha_pattern",
  "use_rslora",
  "use_dora",
  "ensure_weight_tying",
  "init_lora_weights",
];
/** Ways to begin that leave the base weights as they are. */
const BEGINNINGS = ["true", "false", "nothing", '"gaussian"', '"eva"', '"orthogonal"'];

/** @throws ModelLoadError `model-unsupported` for what is no LoRA, or one that cannot be merged */
export function parseAdapterConfig(config: JsonFields): AdapterConfig {
  const type = config.string("peft_type");
  if (type !== "LORA") throw unmergeable(config, `peft_type ${type}`, "LORA");
  const beginning = config.text("init_lora_weights");
  if (!BEGINNINGS.includes(beginning)) {
    // PiSSA, OLoRA, CorDA and LoftQ change the base weights, and the adapter alone does not say how.
    throw unmergeable(config, `init_lora_weights ${beginning}`, BEGINNINGS.join(", "));
  }
  for (const name of config.keys()) {
    if (ABOUT_TRAINING.includes(name) || READ.includes(name) || isOff(config.text(name))) continue;
    throw unmergeable(config, `${name} ${config.text(name).slice(0, 60)}`, "nothing of that name");
  }
  const alpha = config.number("lora_alpha", {}, 8);
  const patterns = alphaPatterns(config);
  return {
    dora: config.boolean("use_dora", false),
    rankStabilized: config.boolean("use_rslora", false),
    keepsTie: config.boolean("ensure_weight_tying", false),
    alphaOf: (module) => patterns.find(([pattern]) => pattern.test(module))?.[1] ?? alpha,
  };
}

/** Alphas of single modules: the first pattern that fits a module's path, or the end of it, as PEFT matches them. */
function alphaPatterns(config: JsonFields): (readonly [module: RegExp, alpha: number])[] {
  const patterns = config.objectOrUndefined("alpha_pattern");
  return (patterns?.keys() ?? []).map((pattern) => {
    const alpha = patterns?.number(pattern, {}) ?? 0;
    try {
      // With `u` what only Python's expressions have is an error, and never read as something else.
      return [new RegExp(`^(?:.*\\.)?(?:${pattern})$`, "u"), alpha];
    } catch {
      throw unmergeable(
        config,
        `alpha_pattern for \`${pattern}\``,
        "regular expressions that JavaScript has as well",
      );
    }
  });
}

function isOff(value: string): boolean {
  return ["nothing", "null", "false", "[]", "{}", '""'].includes(value);
}

function unmergeable(config: JsonFields, what: string, known: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `${config.where} has ${what}; what can be merged has ${known}. ` +
      "Merge it with the tool that trained it (merge_and_unload in PEFT), and convert the merged checkpoint.",
  );
}
