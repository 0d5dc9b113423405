// A JSON schema of the settings file, for editors: what may stand where, and what it means. In: descriptions of options,
// which are those of the documentation. Out: a schema of draft 7, which every editor reads. Made when the package is built.

import { z } from "zod";
import { CONFIG_SCHEMA } from "./config-schema.ts";
import { SHORT_KEYS } from "./short-keys.ts";

/** By path, such as `bot.limits.personPerMinute`. */
export type Descriptions = Readonly<Record<string, string>>;

type Schema = z.core.JSONSchema.BaseSchema;

/** The schema, with a description wherever there is one. */
export function editorSchema(descriptions: Descriptions): Schema {
  const schema = z.toJSONSchema(CONFIG_SCHEMA, {
    target: "draft-7",
    io: "input",
    unrepresentable: "any",
    reused: "inline",
  }) as Schema;
  // What this machine can do is checked on the machine that reads the file.
  const threads = at(schema, ["vlm", "threads"]);
  if (threads !== undefined) delete threads.maximum;
  forEditors(schema);
  describe(schema, [], descriptions);
  return { ...schema, title: "napcat-vlm" };
}

/**
 * The name of an environment variable may stand for any text, which a pattern or a list of words would not let pass; and
 * JSON has no word for numbers without an end.
 */
function forEditors(schema: Schema): void {
  for (const inner of children(schema)) forEditors(inner);
  if (typeof schema.maximum !== "number") delete schema.maximum;
  const isChoice = schema.enum !== undefined || schema.pattern !== undefined;
  if (schema.type !== "string" || !(isChoice || schema.minLength !== undefined)) return;
  const { enum: choices, pattern, minLength, ...rest } = schema;
  const own = {
    type: "string" as const,
    ...(choices === undefined ? {} : { enum: choices }),
    ...(pattern === undefined ? {} : { pattern }),
    ...(minLength === undefined ? {} : { minLength }),
  };
  for (const key of ["type", "enum", "pattern", "minLength"]) delete schema[key];
  Object.assign(schema, rest, {
    anyOf: [own, { type: "string", pattern: "^\\$\\{[A-Za-z_][A-Za-z0-9_]*\\}$" }],
  });
}

function describe(schema: Schema, path: readonly string[], descriptions: Descriptions): void {
  for (const [key, inner] of properties(schema)) {
    const here = [...path, key];
    const known = descriptions[here.join(".")];
    if (known !== undefined) inner.description = known;
    describe(inner, here, descriptions);
  }
}

/** Keys of an object, also where it is one of several kinds. */
function properties(schema: Schema): readonly [string, Schema][] {
  const own = Object.entries((schema.properties ?? {}) as Record<string, Schema>);
  const kinds = (schema.anyOf ?? []) as Schema[];
  return [...own, ...kinds.flatMap(properties)];
}

function children(schema: Schema): readonly Schema[] {
  const { items, additionalProperties } = schema;
  const single = [items, additionalProperties].filter(
    (inner): inner is Schema =>
      typeof inner === "object" && inner !== null && !Array.isArray(inner),
  );
  const kinds = (schema.anyOf ?? []) as Schema[];
  return [...properties(schema).map(([, inner]) => inner), ...kinds, ...single];
}

function at(schema: Schema, [key = "", ...more]: readonly string[]): Schema | undefined {
  const inner = properties(schema).find(([name]) => name === key)?.[1];
  return inner === undefined || more.length === 0 ? inner : at(inner, more);
}

/** Tables of the documentation, by the label above them, and where their options stand in the file. */
const TABLES: Readonly<Record<string, string>> = {
  "options: connectNapCat": "napcat.",
  "options: loadQwen3Vl": "vlm.",
  "options: installVlm": "bot.",
  "options: startDebugServer": "debugHttp.",
  "options: openChatStore": "store.",
};

/** Descriptions out of pages of the documentation: the last cell behind each option, as plain text. */
export function descriptionsIn(pages: readonly string[]): Descriptions {
  const found: Record<string, string> = {};
  for (const [, label = "", table = ""] of pages
    .join("\n")
    .matchAll(/^<!-- (.+) -->\n((?:\|.*\n)+)/gmu)) {
    const prefix = TABLES[label];
    const rows = table.trimEnd().split("\n").slice(2).map(cellsOf);
    for (const cells of rows) {
      if (prefix !== undefined) {
        const [name] = codesIn(cells[0]);
        if (name !== undefined) found[`${prefix}${name}`] = described(cells);
      } else if (label === "configuration: sections") {
        const [name] = codesIn(cells[0]);
        if (name !== undefined) found[name] = plain(cells[1]);
      } else if (label === "settings") {
        const [key] = codesIn(cells[2]);
        if (key !== undefined && key in SHORT_KEYS) found[key] = plain(cells[4]);
      }
    }
  }
  return found;
}

function described([, byDefault = "", text = ""]: readonly string[]): string {
  return `${plain(text)} (default: ${plain(byDefault)})`;
}

function cellsOf(row: string): readonly string[] {
  return row
    .split("|")
    .slice(1, -1)
    .map((cell) => cell.trim());
}

function codesIn(cell = ""): readonly string[] {
  return [...cell.matchAll(/`([^`]+)`/gu)].map(([, code = ""]) => code);
}

/** Without links and backticks. */
function plain(cell = ""): string {
  return cell.replace(/\[([^\]]*)\]\([^)]*\)/gu, "$1").replaceAll("`", "");
}
