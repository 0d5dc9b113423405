// Values as they come off the wire in, typed values out. OneBot implementations disagree on strings and numbers.
// It knows nothing of events or actions.

export type WireRecord = Readonly<Record<string, unknown>>;

export function isRecord(value: unknown): value is WireRecord {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}

/** Text, or `""` for anything else. */
export function textOf(value: unknown): string {
  return typeof value === "string" ? value : "";
}

/** As no server writes them: what ids are is kept as keys, sent back and logged. */
const NO_ID = /[\p{Cc}\p{Cs}]|^$|^.{257}/u;

/** An id as a string: QQ numbers come as numbers, segment values as strings. `undefined` for no id. */
export function idOf(value: unknown): string | undefined {
  if (typeof value === "string") return NO_ID.test(value.trim()) ? undefined : value.trim();
  return typeof value === "number" && Number.isSafeInteger(value) ? String(value) : undefined;
}

/** A number that may be written as a string; `undefined` if it is none. */
export function numberOf(value: unknown): number | undefined {
  if (typeof value !== "number" && (typeof value !== "string" || value.trim() === "")) {
    return undefined;
  }
  const number = Number(value);
  return Number.isFinite(number) ? number : undefined;
}

/** An id as OneBot wants it in a request: a number where it is one. */
export function wireId(id: string): number | string {
  const number = Number(id);
  return /^-?\d+$/u.test(id) && Number.isSafeInteger(number) ? number : id;
}
