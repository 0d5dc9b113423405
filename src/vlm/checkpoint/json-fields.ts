// Typed reading of JSON that somebody else wrote. In: a parsed value and where it came from. Out: numbers,
// strings and lists, or a ModelLoadError that names the field, what was expected and what was there.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";

export interface NumberRange {
  readonly min?: number;
  readonly max?: number;
  /** Exclusive lower bound. */
  readonly above?: number;
  readonly integer?: boolean;
}

/** One JSON object. `null` counts as absent, as in the files transformers writes. */
export class JsonFields {
  readonly #object: Readonly<Record<string, unknown>>;
  readonly #file: string;
  readonly #path: string;

  /**
   * @param file what to call the file in messages
   * @param path where in the file the value stands, `""` for the whole file
   */
  constructor(value: unknown, file: string, path = "") {
    this.#file = file;
    this.#path = path;
    if (typeof value !== "object" || value === null || Array.isArray(value)) {
      throw new ModelLoadError(
        "model-corrupt",
        `Expected ${this.where} to be a JSON object, got ${show(value)}.`,
      );
    }
    this.#object = value as Record<string, unknown>;
  }

  /** For messages: `config.json`, or `text_config of config.json`. */
  get where(): string {
    return this.#path === "" ? this.#file : `${this.#path} of ${this.#file}`;
  }

  keys(): string[] {
    return Object.keys(this.#object);
  }

  has(name: string): boolean {
    return this.#value(name) !== undefined;
  }

  object(name: string): JsonFields {
    return new JsonFields(this.#value(name), this.#file, this.#pathTo(name));
  }

  objectOrUndefined(name: string): JsonFields | undefined {
    return this.has(name) ? this.object(name) : undefined;
  }

  objects(name: string): JsonFields[] {
    return this.#list(name).map(
      (item, i) => new JsonFields(item, this.#file, `${this.#pathTo(name)}[${i}]`),
    );
  }

  string(name: string): string {
    const value = this.#value(name);
    if (typeof value !== "string") throw this.#wrong(name, "a string", value);
    return value;
  }

  stringOrUndefined(name: string): string | undefined {
    return this.has(name) ? this.string(name) : undefined;
  }

  boolean(name: string, fallback: boolean): boolean {
    const value = this.#value(name) ?? fallback;
    if (typeof value !== "boolean") throw this.#wrong(name, "true or false", value);
    return value;
  }

  number(name: string, range: NumberRange, fallback?: number): number {
    const value = this.#value(name) ?? fallback;
    if (!inRange(value, range)) throw this.#wrong(name, rangeText(range), value);
    return value;
  }

  /** An integer, at least `min`. */
  integer(name: string, min: number, fallback?: number): number {
    return this.number(name, { integer: true, min }, fallback);
  }

  numbers(name: string, range: NumberRange): number[] {
    return this.#list(name).map((value) => {
      if (!inRange(value, range)) throw this.#wrong(name, `a list of ${rangeText(range)}`, value);
      return value;
    });
  }

  strings(name: string): string[] {
    return this.#list(name).map((value) => {
      if (typeof value !== "string") throw this.#wrong(name, "a list of strings", value);
      return value;
    });
  }

  /** A number or a list of numbers, as `eos_token_id` is written. */
  oneOrMore(name: string, range: NumberRange): number[] {
    return Array.isArray(this.#value(name))
      ? this.numbers(name, range)
      : [this.number(name, range)];
  }

  /** A setting that a model can do without: `usual`, and a sentence about it, where the value is of no use. */
  numberOr(
    name: string,
    range: NumberRange,
    usual: number,
    tell: (sentence: string) => void,
  ): number {
    const value = this.#value(name) ?? usual;
    if (inRange(value, range)) return value;
    tell(`${this.#wrong(name, rangeText(range), value).message} The usual value is used instead.`);
    return usual;
  }

  /** Token ids, one or a list; what is none is left out, with a sentence about it. */
  tokenIds(name: string, max: number, tell: (sentence: string) => void): number[] {
    const value = this.#value(name) ?? [];
    const range = { integer: true, min: 0, max };
    const values: unknown[] = Array.isArray(value) ? value : [value];
    const ids = values.filter((id) => inRange(id, range));
    if (ids.length < values.length) {
      tell(`${this.#wrong(name, `token ids (${rangeText(range)})`, value).message} It is ignored.`);
    }
    return ids;
  }

  /** The value as JSON, for comparing and for messages. */
  text(name: string): string {
    return JSON.stringify(this.#value(name)) ?? "nothing";
  }

  /** A string one level further in; undefined when anything on the way is missing or of another type. */
  stringInside(name: string, inner: string): string | undefined {
    const value = this.#value(name);
    if (typeof value !== "object" || value === null || !Object.hasOwn(value, inner)) {
      return undefined;
    }
    const found = (value as Readonly<Record<string, unknown>>)[inner];
    return typeof found === "string" ? found : undefined;
  }

  /** The error for a value that has the right type and is wrong all the same. */
  wrong(name: string, expected: string): ModelLoadError {
    return this.#wrong(name, expected, this.#value(name));
  }

  #list(name: string): unknown[] {
    const value = this.#value(name);
    if (!Array.isArray(value)) throw this.#wrong(name, "a list", value);
    return value;
  }

  #value(name: string): unknown {
    // Own fields only: a name such as "constructor" must not reach the prototype.
    return Object.hasOwn(this.#object, name) ? (this.#object[name] ?? undefined) : undefined;
  }

  #pathTo(name: string): string {
    return this.#path === "" ? name : `${this.#path}.${name}`;
  }

  #wrong(name: string, expected: string, got: unknown): ModelLoadError {
    return new ModelLoadError(
      "model-corrupt",
      `Expected ${this.#pathTo(name)} of ${this.#file} to be ${expected}, got ${show(got)}.`,
    );
  }
}

/** Reads and parses a JSON file; the caller has made sure that it exists. */
export async function readJsonFile(dir: string, file: string): Promise<unknown> {
  const text = await disk.readText(join(dir, file));
  try {
    return JSON.parse(text.replace(/^\uFEFF/, ""));
  } catch (cause) {
    throw new ModelLoadError("model-corrupt", `${file} is not valid JSON.`, {
      cause,
      modelDir: dir,
    });
  }
}

function inRange(value: unknown, range: NumberRange): value is number {
  return (
    typeof value === "number" &&
    Number.isFinite(value) &&
    (range.integer !== true || Number.isSafeInteger(value)) &&
    (range.min === undefined || value >= range.min) &&
    (range.max === undefined || value <= range.max) &&
    (range.above === undefined || value > range.above)
  );
}

function rangeText(range: NumberRange): string {
  const bounds = [
    range.min === undefined ? "" : `>= ${range.min}`,
    range.above === undefined ? "" : `> ${range.above}`,
    range.max === undefined ? "" : `<= ${range.max}`,
  ].filter((bound) => bound !== "");
  return [range.integer ? "an integer" : "a number", bounds.join(" and ")].join(" ").trim();
}

function show(value: unknown): string {
  if (value === undefined) return "nothing";
  const text = JSON.stringify(value) ?? String(value);
  const short = text.length > 60 ? `${text.slice(0, 60)}…` : text;
  return `\`${short}\` (${Array.isArray(value) ? "list" : typeof value})`;
}
