// The name of a model on a hub. In: what somebody wrote. Out: OWNER/NAME, or nothing. Short names stand for the models of
// the Qwen team that one is likely to mean.

const SIZES = ["2b", "4b", "8b"] as const;

/** Short name to name. */
const MODEL_ALIASES: ReadonlyMap<string, string> = new Map(
  SIZES.flatMap((size) => {
    const name = `Qwen/Qwen3-VL-${size.toUpperCase()}`;
    return [
      [`qwen3-vl-${size}`, `${name}-Instruct`],
      [`qwen3-vl-${size}-instruct`, `${name}-Instruct`],
      [`qwen3-vl-${size}-thinking`, `${name}-Thinking`],
    ] as const;
  }),
);

const PART = "[A-Za-z0-9](?:[\\w.-]{0,94}[\\w-])?";
const NAME = new RegExp(`^${PART}/${PART}$`);

/** @returns OWNER/NAME, or undefined for what cannot be a name on a hub */
export function modelName(text: string): string | undefined {
  const alias = MODEL_ALIASES.get(text);
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
