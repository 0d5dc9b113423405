// JSON as the `tojson` filter of the reference's chat templates writes it (Python's json.dumps, ensure_ascii=False).
// In: a JSON value. Out: its text, with ", " and ": " and every non-ASCII character as it is.

type Json = string | number | boolean | null | Json[] | { [key: string]: Json };

/**
 * Writes a value as Python's `json.dumps` does.
 *
 * What JSON cannot hold is treated as `JSON.stringify` treats it. JavaScript does not tell `1.0` from `1`: both become `1`.
 * @throws TypeError for a value with a cycle or a bigint in it.
 */
export function toPythonJson(value: unknown): string {
  // Through JSON once, so that toJSON, undefined and functions are settled by the platform.
  const text = JSON.stringify(value);
  return text === undefined ? "null" : write(JSON.parse(text) as Json);
}

function write(value: Json): string {
  if (typeof value === "number") return writeNumber(value);
  if (typeof value !== "object" || value === null) return JSON.stringify(value);
  if (Array.isArray(value)) return `[${value.map(write).join(", ")}]`;
  const members = Object.entries(value).map(
    ([key, item]) => `${JSON.stringify(key)}: ${write(item)}`,
  );
  return `{${members.join(", ")}}`;
}

/** Python turns to exponents below 1e-4 (JavaScript below 1e-6) and writes them with two digits at least. */
function writeNumber(value: number): string {
  const tiny = value !== 0 && Math.abs(value) < 1e-4;
  const text = tiny ? value.toExponential() : String(value);
  return text.replace(/e([+-])(\d)$/, "e$10$2");
}
