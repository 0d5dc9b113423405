// Options as a caller wrote them in; one error that names every mistake out, or nothing.
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

/** An object with exactly these keys. */
export function object<T extends z.core.$ZodLooseShape>(shape: T) {
  return z.strictObject(shape, {
    error: (issue) =>
      issue.code === "unrecognized_keys" ? `known:${Object.keys(shape).join(", ")}` : "an object",
  });
}

/** Any value that passes a test. */
export function matching<T>(expected: string, test: (value: unknown) => boolean) {
  return z.custom<T>(test, { error: expected });
}

/** The defaults, with what was given in their place; `undefined` counts as not given. */
export function withDefaults<T extends object>(defaults: T, given: Partial<T> = {}): T {
  const present = Object.entries(given).filter(([, value]) => value !== undefined);
  return { ...defaults, ...Object.fromEntries(present) };
}

/**
 * Checks options against a schema made of the functions above.
 *
 * @throws {TypeError | RangeError} "Expected `maxTokens` to be an integer >= 1, got `0` (number)", a line for each mistake.
 */
export function parseOptions(schema: z.ZodType, options: unknown, name: string): void {
  const result = schema.safeParse(options);
  if (result.success) return;
  const { issues } = result.error;
  const message = issues.map((issue) => describe(issue, options, name)).join("\n");
  const onlyRanges = issues.every(({ code }) => code === "too_small" || code === "too_big");
  throw onlyRanges ? new RangeError(message) : new TypeError(message);
}

function describe(issue: z.core.$ZodIssue, options: unknown, name: string): string {
  const path = issue.path.map(String).join(".");
  if (issue.code === "unrecognized_keys") {
    const keys = issue.keys.map((key) => `\`${path === "" ? key : `${path}.${key}`}\``).join(", ");
    return `Unknown option ${keys} of ${name}. Known are ${issue.message.replace(/^known:/u, "")}.`;
  }
  const value = issue.path.reduce<unknown>(
    (inner, key) => (inner as Record<PropertyKey, unknown> | undefined)?.[key],
    options,
  );
  return `Expected \`${path || name}\` to be ${issue.message}, got ${show(value, path)}.`;
}

/** Options whose wrong values may hold a secret or whole pages. */
const SECRETS = /^(token|url|systemPrompt|phrases\..*)$/u;

/** The value, where it is short and no secret, and its type. */
function show(value: unknown, path: string): string {
  const type = value === null ? "null" : Array.isArray(value) ? "array" : typeof value;
  if (value === null || value === undefined) return `\`${value}\``;
  if (typeof value === "object" || typeof value === "function") return type;
  if (SECRETS.test(path)) return `a ${type}`;
  return `\`${String(value).slice(0, 40)}\` (${type})`;
}
