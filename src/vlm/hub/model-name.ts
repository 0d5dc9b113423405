// The name of a model on a hub. In: what somebody wrote. Out: OWNER/NAME, or nothing. Short names stand for the models of
// the Qwen team that one is likely to mean.

const ALIASES: Readonly<Record<string, string>> = {
  "qwen3-vl-2b": "Qwen/Qwen3-VL-2B-Instruct",
  "qwen3-vl-4b": "Qwen/Qwen3-VL-4B-Instruct",
  "qwen3-vl-8b": "Qwen/Qwen3-VL-8B-Instruct",
  "qwen3-vl-2b-thinking": "Qwen/Qwen3-VL-2B-Thinking",
  "qwen3-vl-4b-thinking": "Qwen/Qwen3-VL-4B-Thinking",
  "qwen3-vl-8b-thinking": "Qwen/Qwen3-VL-8B-Thinking",
};

export const MODEL_ALIASES: ReadonlyMap<string, string> = new Map(Object.entries(ALIASES));

const PART = "[A-Za-z0-9](?:[\\w.-]{0,94}[\\w-])?";
const NAME = new RegExp(`^${PART}/${PART}$`);

/** @returns OWNER/NAME, or undefined for what cannot be a name on a hub */
export function modelName(text: string): string | undefined {
  const alias = MODEL_ALIASES.get(text.toLowerCase().replace(/-instruct$/, ""));
  if (alias !== undefined) return alias;
  return NAME.test(text) && !text.includes("..") && !text.includes("--") ? text : undefined;
}

/** The same name as one part of a path. */
export function folderOf(model: string): string {
  return `models--${model.replace("/", "--")}`;
}

/** The name that a folder stands for; undefined where it is no such folder. */
export function nameOf(folder: string): string | undefined {
  const [, owner, name] = /^models--(.+?)--(.+)$/.exec(folder) ?? [];
  return owner === undefined || name === undefined ? undefined : modelName(`${owner}/${name}`);
}
