// Options as a caller wrote them in; one error that names every mistake out, or nothing. Both halves check theirs here.
// The only file that knows how zod reports: nobody else sees its errors.

import { z } from "zod";

/** An integer in a range; both ends belong to it. */
export function integer(min: number, max: number = Number.MAX_SAFE_INTEGER) {
  const upper = max === Number.MAX_SAFE_INTEGER ? "" : ` and <= ${max}`;
  const error = `an integer >= ${min}${upper}`;
  return z.number({ error }).int({ error }).min(min, { error }).max(max, { error });
}

/** A number in a range; both ends belong to it. */
export function number(min: number, max: number = Infinity) {
  const upper = max === Infinity ? "" : ` and <= ${max}`;
  const error = `a number >= ${min}${upper}`;
  return z.number({ error }).min(min, { error }).max(max, { error });
}

/** A number above one and up to another, which belongs to the range. */
export function numberAbove(min: number, max: number = Infinity) {
  const upper = max === Infinity ? "" : ` and <= ${max}`;
  const error = `a number > ${min}${upper}`;
  return z.number({ error }).gt(min, { error }).max(max, { error });
}

/** A time in milliseconds that a timer can hold. */
export function milliseconds() {
  return integer(1, 2 ** 31 - 1);
}

export function boolean() {
  return z.boolean({ error: "true or false" });
}

export function text() {
  return z.string({ error: "a string" });
}

export function nonEmptyText() {
  const error = "a non-empty string";
  return z.string({ error }).min(1, { error, abort: true });
}

export function oneOf<const T extends readonly string[]>(choices: T) {
  return z.enum(choices, { error: `one of ${choices.map((choice) => `"${choice}"`).join(", ")}` });
}

/** @param expected what the whole is, in words */
export function list<T extends z.ZodType>(item: T, expected: string) {
  return z.array(item, { error: expected });
}

/** Any keys, all with values of one kind. */
export function optionalRecord<T extends z.ZodType>(value: T) {
  return z.record(z.string(), value, { error: "an object" }).optional();
}

/** Keys of one form, all with values of one kind. @param expected what the whole is, in words */
export function record<T extends z.ZodType>(key: RegExp, value: T, expected: string) {
  return z.record(z.string().regex(key), value, { error: expected });
}

/** An object with exactly these keys. */
export function object<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, {
    // Of the schema that refuses, which may have been made from this one, with fewer keys.
    error: (issue) =>
      issue.code === "unrecognized_keys" ? `known:${keysOf(issue.inst).join(", ")}` : "an object",
  });
}

function keysOf(schema: unknown): readonly string[] {
  return schema instanceof z.ZodObject ? Object.keys(schema.shape) : [];
}

/** An object with at least these keys. @param expected what the whole is, in words */
export function openObject<T extends z.core.$ZodLooseShape>(shape: T, expected: string) {
  return z.looseObject(shape, { error: expected });
}

/** A value of one kind or of another. @param expected what the whole is, in words, where it is of neither */
export function either<const T extends readonly [z.ZodType, ...z.ZodType[]]>(
  kinds: T,
  expected: string,
) {
  return z.union(kinds, { error: expected });
}

/** Objects of several kinds, told apart by one key. @param expected what the whole is, in words */
export function kindsOf<
  const T extends readonly [z.core.$ZodTypeDiscriminable, ...z.core.$ZodTypeDiscriminable[]],
>(key: string, kinds: T, choices: readonly string[], expected: string) {
  return z.discriminatedUnion(key, kinds, {
    error: (issue) =>
      issue.code === "invalid_union"
        ? `one of ${choices.map((choice) => `"${choice}"`).join(", ")}`
        : expected,
  });
}

/** A key that tells kinds of objects apart. */
export function literal<const T extends string>(value: T) {
  return z.literal(value);
}

/**
 * Any value that passes a test.
 *
 * @param json what it is in a file of settings; left out: only code can give it
 */
export function matching<T>(
  expected: string,
  test: (value: unknown) => boolean,
  json?: "string" | "number" | "object",
) {
  const schema = z.custom<T>(test, { error: expected });
  return json === undefined ? schema : schema.meta({ type: json });
}

/** A number above zero, or `Infinity` for what never ends: zod's own numbers are finite. */
export function positiveOrInfinite() {
  return matching<number>(
    "a number > 0, or Infinity",
    (value) => typeof value === "number" && value > 0,
    "number",
  );
}

/** The schema without what only code can give, such as functions; `undefined` where nothing is left of it. */
function withoutCode(schema: z.ZodType): z.ZodType | undefined {
  if (schema instanceof z.ZodOptional) {
    return withoutCode(schema.unwrap() as z.ZodType)?.optional();
  }
  if (schema instanceof z.ZodArray) {
    return withoutCode(schema.element as z.ZodType) === undefined ? undefined : schema;
  }
  if (schema instanceof z.ZodObject) {
    const shape = shapeWithoutCode(schema);
    return Object.keys(shape).length === 0 ? undefined : schema.clone({ ...schema.def, shape });
  }
  return schema instanceof z.ZodCustom && schema.meta()?.type === undefined ? undefined : schema;
}

/** As {@link withoutCode}, for the keys of an object. */
export function shapeWithoutCode(schema: z.ZodObject): Record<string, z.ZodType> {
  const left = Object.entries(schema.shape).flatMap(([key, value]): [string, z.ZodType][] => {
    const inner = withoutCode(value as z.ZodType);
    return inner === undefined ? [] : [[key, inner]];
  });
  return Object.fromEntries(left);
}

export function abortSignal() {
  return matching<AbortSignal>("an AbortSignal", (value) => value instanceof AbortSignal);
}

export function callback<T>(expected = "a function") {
  return matching<T>(expected, (value) => typeof value === "function");
}

/** The defaults, with what was given in their place; `undefined` counts as not given. */
export function withDefaults<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(present) };
}

/**
 * Checks options against a schema made of the functions above.
 *
 * @param name of the options as a whole, such as `installVlm`
 * @throws {TypeError | RangeError} "Expected `maxTokens` to be an integer >= 1, got `0` (number).", a line for each
 *   mistake; a RangeError where only numbers are out of their ranges.
 */
export function parseOptions(schema: z.ZodType, options: unknown, name: string): void {
  const mistakes = findMistakes(schema, options);
  if (mistakes.length === 0) return;
  const message = mistakes.map((mistake) => describe(mistake, name)).join("\n");
  throw mistakes.every((mistake) => mistake.isOutOfRange)
    ? new RangeError(message)
    : new TypeError(message);
}

/**
 * Says that a value which passed its schema does not fit something else, in the same words.
 *
 * @param path of the option
 */
export function unexpected(path: string, expected: string, value: unknown): string {
  return `Expected \`${path}\` to be ${expected}, got ${show(value, path)}.`;
}

/** One mistake in options. */
export interface Mistake {
  /** Where it is; in case of unknown keys, the object that holds them. */
  readonly keys: readonly PropertyKey[];
  /** The same as one would write it, such as `messages[0].content`; `""` is the whole. */
  readonly path: string;
  /** What was expected, in words. */
  readonly expected: string;
  /** What is there instead. */
  readonly value: unknown;
  /** Keys that nobody knows, and those that there are. */
  readonly unknown?: { readonly keys: readonly string[]; readonly known: readonly string[] };
  /** The last key itself is what does not fit. */
  readonly isKey: boolean;
  readonly isOutOfRange: boolean;
}

/** Everything that is wrong with these options, by a schema made of the functions above. */
export function findMistakes(schema: z.ZodType, options: unknown): readonly Mistake[] {
  const result = schema.safeParse(options);
  return result.success
    ? []
    : result.error.issues.flatMap(innermost).map((issue) => mistakeOf(issue, options));
}

function mistakeOf(issue: z.core.$ZodIssue, options: unknown): Mistake {
  const { path: keys, message: expected, code } = issue;
  const value = keys.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    options,
  );
  const known = expected.replace(/^known:/u, "").split(", ");
  return {
    keys,
    path: pathOf(keys),
    expected,
    value,
    ...(code === "unrecognized_keys" ? { unknown: { keys: issue.keys, known } } : {}),
    isKey: code === "invalid_key",
    isOutOfRange: isOutOfRange(issue, value),
  };
}

/** Where a value is of one of several kinds but wrong inside, the mistakes are those inside. */
function innermost(issue: z.core.$ZodIssue): readonly z.core.$ZodIssue[] {
  if (issue.code !== "invalid_union") return [issue];
  const inside = issue.errors.find((issues) =>
    issues.some(({ path, code }) => path.length > 0 || code === "unrecognized_keys"),
  );
  if (!inside) return [issue];
  return inside.flatMap((inner) => innermost({ ...inner, path: [...issue.path, ...inner.path] }));
}

/** As one would write it, such as `messages[0].content`. */
export function pathOf(keys: readonly PropertyKey[]): string {
  return keys.reduce<string>((path, key) => {
    if (typeof key === "number") return `${path}[${key}]`;
    return path === "" ? String(key) : `${path}.${String(key)}`;
  }, "");
}

function isOutOfRange(issue: z.core.$ZodIssue, value: unknown): boolean {
  const { code } = issue;
  if (code === "too_small" || code === "too_big") return typeof value === "number";
  // What is wanted as an integer and is a fraction.
  return code === "invalid_type" && issue.expected === "int" && typeof value === "number";
}

function describe({ path, expected, value, unknown }: Mistake, name: string): string {
  if (unknown !== undefined) {
    const keys = unknown.keys
      .map((key) => `\`${path === "" ? key : `${path}.${key}`}\``)
      .join(", ");
    return `Unknown option ${keys} of ${name}. Known are ${unknown.known.join(", ")}.`;
  }
  return unexpected(path || name, expected, value);
}

/** Options whose wrong values may hold a secret or whole pages. */
const SECRETS =
  /(^|\.)(\w*(token|secret|password|key|url)|headers\..*|systemPrompt|phrases\..*)$/iu;

/** May a wrong value of this option hold what nobody else should read? */
export function isSecret(path: string): boolean {
  return SECRETS.test(path);
}

/** What people wrote, or a text in place of the object that holds it; `role` and `type` are the program's. */
const WRITTEN = /^(messages|tools|the request)\b(?!.*\.(role|type)$)/u;

/** The value, where it is short and no secret, and its type. */
function show(value: unknown, path: string): string {
  if (value === null || value === undefined) return `\`${value}\``;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object") return "an object";
  if (typeof value === "function") return "a function";
  if (isSecret(path)) return `a ${typeof value}`;
  if (typeof value === "string" && WRITTEN.test(path)) {
    return `a string of ${value.length} characters`;
  }
  const shown = String(value);
  return `\`${shown.length > 40 ? `${shown.slice(0, 40)}…` : shown}\` (${typeof value})`;
}
