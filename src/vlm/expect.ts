// Checks of options at the door: value in, the same value out, or an error that says what was expected and what came.

/** Whether a number may be whole only, and its range (both ends belong to it unless `exclusiveMin`). */
export interface NumberRange {
  readonly integer?: boolean;
  readonly min?: number;
  readonly max?: number;
  readonly exclusiveMin?: boolean;
}

/** @throws {TypeError | RangeError} "Expected `maxTokens` to be an integer >= 1, got `0` (number)". */
export function expectNumber(name: string, value: unknown, range: NumberRange = {}): number {
  const { integer = false, min = -Infinity, max = Infinity, exclusiveMin = false } = range;
  const expected = [integer ? "an integer" : "a number"];
  if (min !== -Infinity) expected.push(`${exclusiveMin ? ">" : ">="} ${min}`);
  if (max !== Infinity) expected.push(`${min === -Infinity ? "" : "and "}<= ${max}`);
  if (typeof value !== "number" || Number.isNaN(value)) {
    throw new TypeError(unexpected(name, expected.join(" "), value));
  }
  const tooSmall = exclusiveMin ? value <= min : value < min;
  if (tooSmall || value > max || (integer && !Number.isSafeInteger(value))) {
    throw new RangeError(unexpected(name, expected.join(" "), value));
  }
  return value;
}

/** @throws {TypeError} if the value is not a string, or is an empty one. */
export function expectString(name: string, value: unknown): string {
  if (typeof value !== "string" || value === "") {
    throw new TypeError(unexpected(name, "a non-empty string", value));
  }
  return value;
}

/** @throws {TypeError} if the value is none of the choices. */
export function expectOneOf<const T extends string>(
  name: string,
  value: unknown,
  choices: readonly T[],
): T {
  const found = choices.find((choice) => choice === value);
  if (found === undefined) {
    throw new TypeError(
      unexpected(name, `one of ${choices.map((c) => `"${c}"`).join(", ")}`, value),
    );
  }
  return found;
}

/** @throws {TypeError} if the value is not a plain object, or has a key that is not known. */
export function expectKeys(name: string, value: unknown, known: readonly string[]): object {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    // Somebody may have passed a text in place of an object that holds it.
    throw new TypeError(unexpectedKind(name, "an object", value));
  }
  const unknown = Object.keys(value).filter((key) => !known.includes(key));
  if (unknown.length > 0) {
    throw new TypeError(
      `Unknown option ${unknown.map((key) => `\`${key}\``).join(", ")} in ${name}. Known are ${known.join(", ")}.`,
    );
  }
  return value;
}

/** @throws {TypeError} if the value is not an object of some kind; arrays are none. */
export function expectObject<T>(name: string, expected: string, value: T): T {
  if (typeof value !== "object" || value === null || Array.isArray(value)) {
    throw new TypeError(unexpectedKind(name, expected, value));
  }
  return value;
}

/** @throws {TypeError} if the value is not an array. */
export function expectList<T>(name: string, value: readonly T[]): readonly T[] {
  if (!Array.isArray(value)) throw new TypeError(unexpectedKind(name, "an array", value));
  return value;
}

/** The one sentence of every refused option. Long values are cut, contents of objects never shown. */
export function unexpected(name: string, expected: string, value: unknown): string {
  return `Expected \`${name}\` to be ${expected}, got ${shown(value)}`;
}

/** The same where the value may be what somebody wrote in a chat: only its kind is told. */
export function unexpectedKind(name: string, expected: string, value: unknown): string {
  const kind = typeof value === "string" ? `a string of ${value.length} characters` : undefined;
  return `Expected \`${name}\` to be ${expected}, got ${kind ?? shown(value)}`;
}

function shown(value: unknown): string {
  if (value === null || value === undefined) return `\`${value}\``;
  if (Array.isArray(value)) return `an array of ${value.length}`;
  if (typeof value === "object") return "an object";
  if (typeof value === "function") return "a function";
  const text = String(value);
  return `\`${text.length > 40 ? `${text.slice(0, 40)}…` : text}\` (${typeof value})`;
}
