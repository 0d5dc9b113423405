// Options as they may be shown: values, lists and groups of them; nothing secret, nothing long, no functions.

/** Names of options that hold secrets, or pages of text. */
const HIDDEN = /token|secret|password|key$|^url$|phrases|signal|logger|model$/iu;

const MAX_TEXT = 80;

export function shownSettings(settings: object): object {
  const shown = Object.entries(settings).flatMap(([name, value]): [string, unknown][] => {
    if (HIDDEN.test(name) || typeof value === "function" || value === undefined) return [];
    return [[name, shownValue(value)]];
  });
  return Object.fromEntries(shown);
}

function shownValue(value: unknown): unknown {
  if (typeof value === "string" && value.length > MAX_TEXT) {
    return `${value.slice(0, MAX_TEXT)}…`;
  }
  if (Array.isArray(value)) return value.map(shownValue);
  if (value instanceof RegExp) return String(value);
  if (value instanceof Map) return { size: value.size };
  if (typeof value === "object" && value !== null) return shownSettings(value);
  return value === Infinity ? "Infinity" : value;
}
