// Values of options and words behind a command. In: text as it was typed. Out: what it stands for, or a UsageError that
// says what can be typed there. It knows no commands.

import { COMPUTE_PRIORITIES, type ComputePriority } from "../vlm/runtime/compute-priority.ts";
import { SHAPE_NAMES, type ShapeName } from "./bench/shape-names.ts";
import type { Language } from "./language.ts";
import { UsageError } from "./usage-error.ts";

export function cudaMajor(text: string | undefined): 12 | 13 | undefined {
  if (text === undefined) return undefined;
  if (text === "12" || text === "13") return text === "12" ? 12 : 13;
  throw new UsageError(`\`--cuda\` is \`12\` or \`13\`, got \`${text.slice(0, 20)}\`.`);
}

export function webAddress(name: string, text: string | undefined): string | undefined {
  if (text === undefined || /^https?:$/.test(URL.canParse(text) ? new URL(text).protocol : "")) {
    return text;
  }
  throw new UsageError(`\`${name}\` is an address such as https://mirror.example.com/.`);
}

export function sha256Of(text: string | undefined): string | undefined {
  if (text === undefined || /^[0-9a-f]{64}$/i.test(text)) return text;
  throw new UsageError("`--sha256` is 64 hexadecimal digits.");
}

export function toLanguage(lang: string | undefined): Language | undefined {
  if (lang === undefined || lang === "zh" || lang === "en") return lang;
  throw new UsageError(`\`--lang\` is \`zh\` or \`en\`, got \`${lang.slice(0, 20)}\`.`);
}

export function shapeName(text: string): ShapeName {
  const found = SHAPE_NAMES.find((name) => name === text);
  if (found === undefined) {
    throw new UsageError(`--size: expected ${SHAPE_NAMES.join(", ")}, got \`${text}\`.`);
  }
  return found;
}

export function computePriority(text: string): ComputePriority {
  const found = COMPUTE_PRIORITIES.find((name) => name === text);
  if (found === undefined) {
    const known = COMPUTE_PRIORITIES.join(" or ");
    throw new UsageError(`--compute-priority: expected ${known}, got \`${text.slice(0, 20)}\`.`);
  }
  return found;
}

/** @param most above it, nothing can be meant */
export function countOf(name: string, text: string | undefined, most: number): number | undefined {
  if (text === undefined) return undefined;
  if (/^[1-9]\d{0,2}$/.test(text) && Number(text) <= most) return Number(text);
  throw new UsageError(`${name}: expected a number from 1 to ${most}, got \`${text}\`.`);
}

/** The one word behind a command that is about one model. */
export function modelOf(name: string, [model, ...more]: readonly string[]): string {
  if (model === undefined) {
    throw new UsageError(`\`${name}\` needs the name of a model, such as qwen3-vl-2b.`);
  }
  refuseMore(name, more);
  return model;
}

export function hubOf(text: string | undefined): "auto" | "hf" | "modelscope" | undefined {
  if (text === undefined || text === "auto" || text === "hf" || text === "modelscope") return text;
  throw new UsageError(`--hub: expected auto, hf or modelscope, got \`${text.slice(0, 40)}\`.`);
}

/** Refuses words behind a command that takes none of them. */
export function refuseMore(name: string, rest: readonly string[]): void {
  if (rest.length > 0) {
    throw new UsageError(`\`${name}\` does not know what to do with \`${rest[0]}\`.`);
  }
}
