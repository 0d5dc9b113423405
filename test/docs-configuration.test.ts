// The page about the settings file in both languages against the schema: its sections, its short keys, its examples, and
// that every option a file can hold stands in the table of the function it belongs to.

import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { z } from "zod";
import { FROM_THE_START } from "../src/bot/bot-changes.ts";
import { DEBUG_SERVER_SCHEMA } from "../src/bot/debug-http/server.ts";
import { CONNECT_SCHEMA } from "../src/bot/napcat/connect-options.ts";
import { INSTALL_SCHEMA } from "../src/bot/options.ts";
import { STORE_SCHEMA } from "../src/bot/store/chat-store.ts";
import { ConfigError, readConfigFile } from "../src/cli/config/config-file.ts";
import { CONFIG_SCHEMA } from "../src/cli/config/config-schema.ts";
import { BUILT_ONCE, SECTIONS_BUILT_ONCE } from "../src/cli/config/settings-reload.ts";
import { SHORT_KEYS } from "../src/cli/config/short-keys.ts";
import { LOG_LEVELS } from "../src/cli/log.ts";
import { LOAD_SCHEMA } from "../src/vlm/options.ts";
import { blockOf, LANGUAGES, tableOf } from "./support/book.ts";
import { codes } from "./support/markdown.ts";

let directory: string;
beforeAll(async () => {
  directory = await mkdtemp(join(tmpdir(), "napcat-vlm-docs-"));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

async function read(text: string, env = {}) {
  const path = join(directory, "bot.jsonc");
  await writeFile(path, text);
  return readConfigFile(path, env);
}

/** The function behind each section. */
const FUNCTIONS: Readonly<Record<string, [name: string, schema: z.ZodObject]>> = {
  napcat: ["connectNapCat", CONNECT_SCHEMA],
  vlm: ["loadQwen3Vl", LOAD_SCHEMA],
  bot: ["installVlm", INSTALL_SCHEMA],
  debugHttp: ["startDebugServer", DEBUG_SERVER_SCHEMA],
  store: ["openChatStore", STORE_SCHEMA],
};

/** What a section of a file may hold. */
function keysOfSection(name: string): readonly string[] {
  let schema: z.ZodType | undefined = Object.entries(CONFIG_SCHEMA.shape).find(
    ([key]) => key === name,
  )?.[1];
  while (schema instanceof z.ZodOptional) schema = schema.unwrap() as z.ZodType;
  if (schema instanceof z.ZodUnion) schema = schema.options.at(-1) as z.ZodType;
  return Object.keys((schema as z.ZodObject).shape);
}

describe.each(LANGUAGES)("the settings file in %s", (language) => {
  it("has the sections the schema has, each with what a file cannot hold", () => {
    const rows = tableOf(language, "configuration: sections");
    const shown = Object.fromEntries(
      rows.map(([section = "", , without = ""]) => [codes(section)[0], codes(without)]),
    );
    const sections = Object.keys(CONFIG_SCHEMA.shape).filter(
      (key) => key !== "$schema" && (!(key in SHORT_KEYS) || key === "napcat"),
    );
    expect(Object.keys(shown).toSorted()).toEqual(sections.toSorted());
    for (const [section, [name, schema]] of Object.entries(FUNCTIONS)) {
      const inFile = keysOfSection(section);
      const missing = Object.keys(schema.shape).filter((key) => !inFile.includes(key));
      expect(shown[section], section).toEqual(expect.arrayContaining(missing));
      expect(shown[section], section).toHaveLength(missing.length);
      const documented = tableOf(language, `options: ${name}`).map(
        ([option = ""]) => codes(option)[0]?.split(".")[0],
      );
      expect(documented).toEqual(expect.arrayContaining([...inFile]));
    }
    const log = rows.find(([section = ""]) => codes(section)[0] === "log");
    expect(codes(log?.[1] ?? "")).toEqual(["level", ...LOG_LEVELS]);
  });

  it("has every short key", () => {
    const rows = tableOf(language, "configuration: short keys");
    expect(rows.map(([key = ""]) => codes(key)[0]).toSorted()).toEqual(
      Object.keys(SHORT_KEYS).toSorted(),
    );
    for (const [key = "", same = ""] of rows) {
      const [section, option] = codes(same)[0]?.split(".") ?? [];
      // A few stand for nothing else.
      if (section === undefined) continue;
      expect(keysOfSection(section), key).toContain(option);
    }
  });

  it("says what holds at once and what needs a restart", () => {
    const [atOnce = [], late = []] = tableOf(language, "configuration: reload").map(([, cell]) =>
      codes(cell ?? ""),
    );
    const ofTheBot = FROM_THE_START.map((name) => `history.${name}`);
    const fromTheStart = new Set<string>([...BUILT_ONCE, ...SECTIONS_BUILT_ONCE, "napcatToken"]);
    expect(late.filter((name) => name !== "bot").toSorted()).toEqual(
      [...fromTheStart, ...ofTheBot].toSorted(),
    );
    const keys = Object.keys(CONFIG_SCHEMA.shape).filter((key) => key !== "$schema");
    const others = keys.filter((key) => !fromTheStart.has(key));
    expect(atOnce.map((name) => name.split(".")[0]).toSorted()).toEqual(others.toSorted());
  });

  it("has an example that is taken", async () => {
    const example = blockOf(language, "configuration: example");
    const { short, sections } = await read(example, { NAPCAT_TOKEN: "hush" });
    expect(short).toMatchObject({
      napcatToken: "hush",
      model: join(directory, "Qwen3-VL-2B-Instruct"),
      data: join(directory, "data"),
    });
    expect(Object.keys(sections.bot.chats ?? {})).toEqual(["group:123456", "private:*"]);
  });

  it("shows mistakes as they are told", async () => {
    const shown = blockOf(language, "configuration: problems").trimEnd().split("\n").slice(1);
    const text =
      '{\n\n  "bot": {\n    "reply": {   "qoute": "never" }\n  },\n\n  "debugHttp": { "port": "9999" }\n}';
    const error = await read(text).catch((thrown: unknown) => thrown);
    expect(error).toBeInstanceOf(ConfigError);
    const lines = (error as ConfigError).message.split("\n").slice(1);
    for (const [index, line] of lines.entries()) {
      const [before = "", after = ""] = (shown[index] ?? "").split("…");
      expect(line.startsWith(before) && line.endsWith(after), line).toBe(true);
    }
    expect(lines).toHaveLength(shown.length);
  });

  it("takes Infinity as the page says", async () => {
    const { sections } = await read('{ "bot": { "maxMessageAgeMs": 1e999 } }');
    expect(sections.bot.maxMessageAgeMs).toBe(Infinity);
  });
});
