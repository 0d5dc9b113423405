// What a model wrote between <tool_call> and </tool_call>. In: that text, as broken as models write it. Out: calls with
// JSON arguments, or what is wrong with it. It knows nothing of streams, of tokens, or of who runs a tool.

import { jsonrepair } from "jsonrepair";
import { isObject } from "../json-object.ts";

/** A call as it was meant. `arguments` is JSON text of an object. */
export interface WrittenCall {
  readonly name: string;
  readonly arguments: string;
}

/** A tool's name and what JSON schema says of its arguments, for the forms that carry no types. */
export interface KnownTool {
  readonly name: string;
  readonly parameters: unknown;
  /** Its arguments satisfy that schema, or it is not called. */
  readonly strict?: boolean;
}

/** Tools as a request describes them: OpenAI's form, or the function alone. What has no name cannot be called. */
export function knownTools(tools: readonly Readonly<Record<string, unknown>>[]): KnownTool[] {
  return tools.flatMap((tool) => {
    const described = isObject(tool.function) ? tool.function : tool;
    const { name, parameters, strict } = described;
    if (typeof name !== "string" || name === "") return [];
    return [{ name, parameters, ...(strict === true ? { strict } : {}) }];
  });
}

/** Models escape arguments once too often, or twice. */
const MAX_ESCAPES = 2;

/**
 * Reads one block.
 *
 * Several objects are several calls. Accepted besides the taught form: a brace too many or too few, a pair of braces
 * around the whole, arguments as a JSON string, `parameters` for `arguments`, spaces around keys, Python's literals,
 * bare line breaks in strings, and the `<function=name><parameter=key>` form of the Coder models.
 *
 * @returns no calls where nothing can be made of it
 */
export function readToolCalls(block: string, tools: readonly KnownTool[]): WrittenCall[] {
  const text = block.trim();
  const tagged = text.includes("<parameter=") && !text.startsWith("{");
  if (tagged || /^<?function=/u.test(text)) return coderCalls(text, tools);
  return objectsIn(text).flatMap((value) => callOf(value) ?? []);
}

/** All top-level objects of a text; what is between and behind them is ignored. */
function objectsIn(text: string): unknown[] {
  const whole = parseJson(text);
  if (whole !== undefined) return Array.isArray(whole) ? whole : [whole];
  const pieces = balancedPieces(text);
  const parsed = pieces.map((piece) => parseJson(piece) ?? repaired(piece));
  if (parsed.length > 0 && parsed.every(isObject)) return parsed;
  const mended = repaired(text);
  return Array.isArray(mended) ? mended : mended === undefined ? [] : [mended];
}

/** Stretches from an opening brace to the one that closes it, or to the end; braces in strings do not count. */
function balancedPieces(text: string): string[] {
  const pieces: string[] = [];
  let depth = 0;
  let start = 0;
  let inString = false;
  for (let index = 0; index < text.length; index++) {
    const character = text[index];
    if (inString) {
      if (character === "\\") index++;
      else if (character === '"') inString = false;
    } else if (character === '"' && depth > 0) {
      inString = true;
    } else if (character === "{") {
      if (depth++ === 0) start = index;
    } else if (character === "}" && depth > 0 && --depth === 0) {
      pieces.push(text.slice(start, index + 1));
    }
  }
  return depth > 0 ? [...pieces, text.slice(start)] : pieces;
}

function callOf(value: unknown): WrittenCall | undefined {
  if (!isObject(value)) return undefined;
  const fields = new Map(Object.entries(value).map(([key, field]) => [key.trim(), field]));
  const inner = fields.get("function");
  if (isObject(inner)) return callOf(inner);
  const name = fields.get("name");
  if (typeof name !== "string" || name.trim() === "") return undefined;
  const given = fields.has("arguments") ? fields.get("arguments") : fields.get("parameters");
  const parsed = unescaped(given);
  return isObject(parsed) ? { name: name.trim(), arguments: JSON.stringify(parsed) } : undefined;
}

/** Arguments as an object; none at all are an empty one. */
function unescaped(given: unknown): unknown {
  let value = given;
  for (let escapes = 0; typeof value === "string" && escapes < MAX_ESCAPES; escapes++) {
    if (value.trim() === "") return {};
    const read = parseJson(value) ?? repaired(value);
    // Text that is nothing at all is not the same as none.
    if (read === undefined) return undefined;
    value = read;
  }
  return value ?? {};
}

/** `<function=name><parameter=key>value</parameter></function>`, whose opening tag is often missing. */
function coderCalls(text: string, tools: readonly KnownTool[]): WrittenCall[] {
  return text.split(/(?=<?function=)/u).flatMap((part): WrittenCall[] => {
    const name = /^<?function=([^>\n]+)>/u.exec(part.trim())?.[1]?.trim();
    const tool = tools.find((known) => known.name === name);
    if (!tool) return [];
    const values = [
      ...part.matchAll(
        /<parameter=([^>\n]+)>([\s\S]*?)(?=<\/parameter>|<parameter=|<\/function>|$)/gu,
      ),
    ];
    const fields = values.map(([, key = "", value = ""]) => [
      key.trim(),
      typedValue(value.replace(/^\n|\n$/gu, ""), propertyType(tool.parameters, key.trim())),
    ]);
    return [{ name: tool.name, arguments: JSON.stringify(Object.fromEntries(fields)) }];
  });
}

/** Text stays text unless the schema says that it is something else. */
function typedValue(text: string, type: unknown): unknown {
  if (type === undefined || type === "string") return text;
  return parseJson(text) ?? repaired(text) ?? text;
}

function propertyType(schema: unknown, key: string): unknown {
  if (!isObject(schema) || !isObject(schema.properties)) return undefined;
  const property = schema.properties[key];
  return isObject(property) ? (property.type ?? "any") : undefined;
}

function parseJson(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}

function repaired(text: string): unknown {
  // `{{"name": …}}`: an object needs a key, so the outer pair is one too many.
  const bare = /^\{\s*\{/u.test(text) ? text.replace(/^\{\s*/u, "").replace(/\}\s*$/u, "") : text;
  try {
    return JSON.parse(jsonrepair(bare));
  } catch {
    return undefined;
  }
}
