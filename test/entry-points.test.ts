// What comes along when somebody imports one entry point of the built package: exactly the packages that the documentation
// names, and nothing of the bot for who only wants the model.

import { execFileSync } from "node:child_process";
import { join } from "node:path";
import { pathToFileURL } from "node:url";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { build, ROOT, removeBuild } from "./cli/command.ts";
import { LANGUAGES, read, tableOf } from "./support/book.ts";
import { codes } from "./support/markdown.ts";

let directory: string;
const loaded = new Map<string, readonly string[]>();
let dependencies: readonly string[];

beforeAll(async () => {
  directory = build();
  const manifest = JSON.parse(await read("package.json")) as {
    exports: Record<string, string | { default: string }>;
    dependencies: Record<string, string>;
  };
  dependencies = Object.keys(manifest.dependencies);
  for (const [path, target] of Object.entries(manifest.exports)) {
    if (typeof target === "string") continue;
    const url = pathToFileURL(join(directory, target.default.replace("./dist/", ""))).href;
    const child = join(ROOT, "scripts", "imports-child.js");
    const printed = execFileSync(process.execPath, [child, url, "packages"], { encoding: "utf8" });
    loaded.set(`napcat-vlm${path.slice(1)}`, JSON.parse(printed) as string[]);
  }
});
afterAll(() => removeBuild(directory));

describe("an entry point", () => {
  it.each(LANGUAGES)("loads of our dependencies what the table in %s says", (language) => {
    const rows = tableOf(language, "entry points");
    const shown = rows.map(([entry = "", , , list = ""]) => [codes(entry)[0], codes(list)]);
    const expected = [...loaded].map(([entry, packages]) => [
      entry,
      packages.filter((name) => dependencies.includes(name)),
    ]);
    expect(shown).toEqual(expected);
  });

  it("of the model alone loads nothing of servers, doors, stores, logs or QQ", () => {
    const packages = loaded.get("napcat-vlm/vlm") ?? [];
    expect(packages).toContain("zod");
    const strange = ["hono", "@hono/node-server", "openai", "ai", "@ai-sdk/provider", "libsql"];
    const more = ["pino", "node-napcat-ts", "ws", "undici", "marked", "prom-client", "ipaddr.js"];
    expect(packages.filter((name) => [...strange, ...more].includes(name))).toEqual([]);
    // Native libraries come with the first model, not with the import.
    expect(packages.filter((name) => /^(sharp|koffi|onnxruntime-)/.test(name))).toEqual([]);
  });

  it.each(["napcat-vlm/ai-sdk", "napcat-vlm/testing", "napcat-vlm/vlm/testing"])(
    "%s loads no package at all",
    (entry) => {
      expect(loaded.get(entry)).toEqual([]);
    },
  );

  it("of models elsewhere loads no engine", () => {
    const packages = loaded.get("napcat-vlm/remote") ?? [];
    expect(packages).toContain("openai");
    const engine = ["@huggingface/transformers", "@huggingface/jinja", "onnxruntime-node", "sharp"];
    expect(packages.filter((name) => engine.includes(name))).toEqual([]);
  });
});
