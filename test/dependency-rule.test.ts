// The arrows of the design: who may import whom. Checked on the text of every file in src.

import { readdirSync, readFileSync } from "node:fs";
import { join, posix } from "node:path";
import { fileURLToPath } from "node:url";
import { describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));

interface Import {
  /** Path from the root of the repository, with forward slashes. */
  readonly file: string;
  /** Such a path too, or the name of a package. */
  readonly target: string;
  readonly typeOnly: boolean;
}

const IMPORTS =
  /(?:^|[\s;])(?:import|export)\s+(type\s)?[^"';]*?from\s*["']([^"']+)["']|\bimport\s*\(?\s*["']([^"']+)["']|\brequire(?:\.resolve)?\(\s*["']([^"']+)["']|\bcreateRequire\(import\.meta\.url\)\(\s*["']([^"']+)["']|\bimport\.meta\.resolve\(\s*["']([^"']+)["']/gu;

function importsOf(file: string, source: string): Import[] {
  const code = source.replace(/^\s*(?:\/\/|\*|\/\*).*$/gmu, "");
  return [...code.matchAll(IMPORTS)].map((match) => {
    const specifier = match.slice(2).find((group) => group !== undefined) ?? "";
    const target = specifier.startsWith(".")
      ? posix.join(posix.dirname(file), specifier)
      : packageName(specifier);
    return { file, target, typeOnly: match[1] !== undefined };
  });
}

function packageName(specifier: string): string {
  return specifier
    .split("/")
    .slice(0, specifier.startsWith("@") ? 2 : 1)
    .join("/");
}

const files = readdirSync(join(root, "src"), { recursive: true, encoding: "utf8" })
  .map((file) => `src/${file.replaceAll("\\", "/")}`)
  .filter((file) => file.endsWith(".ts"));
const imports = files.flatMap((file) => importsOf(file, readFileSync(join(root, file), "utf8")));

/** Cancellation, the check of options, the disk: what both halves need and neither owns. */
const SHARED: readonly string[] = [
  "src/abort.ts",
  "src/disk-error.ts",
  "src/disk-moves.ts",
  "src/disk-patience.ts",
  "src/disk-sync.ts",
  "src/disk.ts",
  "src/package-root.ts",
  "src/parse-options.ts",
  "src/sampling-shape.ts",
];

const from = (folder: string) => imports.filter(({ file }) => file.startsWith(folder));
const show = ({ file, target }: Import) => `${file} -> ${target}`;

describe("the dependency rule", () => {
  it("finds the imports of a file", () => {
    const source = `
      import a from "./a.ts";
      import {
        b,
      } from "../b.ts";
      import type { C } from "c/deep";
      export { d } from "@scope/d/deep";
      import "e";
      const f = await import("f");
      const g = require.resolve("g/package.json");
      const h = createRequire(import.meta.url)("h");
      // import i from "i";
    `;
    expect(importsOf("src/x/y.ts", source)).toEqual([
      { file: "src/x/y.ts", target: "src/x/a.ts", typeOnly: false },
      { file: "src/x/y.ts", target: "src/b.ts", typeOnly: false },
      { file: "src/x/y.ts", target: "c", typeOnly: true },
      { file: "src/x/y.ts", target: "@scope/d", typeOnly: false },
      { file: "src/x/y.ts", target: "e", typeOnly: false },
      { file: "src/x/y.ts", target: "f", typeOnly: false },
      { file: "src/x/y.ts", target: "g", typeOnly: false },
      { file: "src/x/y.ts", target: "h", typeOnly: false },
    ]);
    expect(imports.length).toBeGreaterThan(100);
  });

  it("lets the bot see the model half through its index only", () => {
    const wrong = from("src/bot/").filter(
      ({ target }) => target.startsWith("src/vlm/") && target !== "src/vlm/index.ts",
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it("lets what both halves share import nothing else of this package", () => {
    const shared = imports.filter(({ file }) => SHARED.includes(file));
    expect(shared.length).toBeGreaterThan(0);
    const own = shared.filter(({ target }) => target.startsWith("src/"));
    expect(own.filter(({ target }) => !SHARED.includes(target))).toEqual([]);
  });

  it("keeps the model half ignorant of the bot and of the command line", () => {
    const wrong = from("src/vlm/").filter(
      ({ target }) =>
        target.startsWith("src/") && !target.startsWith("src/vlm/") && !SHARED.includes(target),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it.each(["image", "text", "checkpoint", "convert", "runtime"])(
    "keeps %s ignorant of the engine",
    (folder) => {
      const wrong = from(`src/vlm/${folder}/`).filter(({ target }) =>
        target.startsWith("src/vlm/engine/"),
      );
      expect(wrong.map(show)).toEqual([]);
    },
  );

  it("lets the turns of the event loop know nothing of what is computed in them", () => {
    const own = from("src/vlm/event-loop/").filter(({ target }) => target.startsWith("src/"));
    const wrong = own.filter(
      ({ target }) => !target.startsWith("src/vlm/event-loop/") && !SHARED.includes(target),
    );
    expect(own.length).toBeGreaterThan(0);
    expect(wrong.map(show)).toEqual([]);
  });

  it("lets a door see the seam only, and nobody import a door", () => {
    const wrong = from("src/ai-sdk/").filter(
      ({ target }) =>
        target.startsWith("src/") &&
        !target.startsWith("src/ai-sdk/") &&
        target !== "src/vlm/index.ts",
    );
    const users = imports.filter(
      ({ file, target }) => target.startsWith("src/ai-sdk/") && !file.startsWith("src/ai-sdk/"),
    );
    expect([...wrong, ...users].map(show)).toEqual([]);
    // Types of the SDK only: who uses this door has the SDK, and nobody else needs it.
    const values = from("src/ai-sdk/").filter(
      ({ target, typeOnly }) => !typeOnly && !target.startsWith("src/ai-sdk/"),
    );
    expect(values.map(show)).toEqual([]);
  });

  it("keeps the command line out of both halves", () => {
    const wrong = imports.filter(
      ({ file, target }) => !file.startsWith("src/cli") && target.startsWith("src/cli"),
    );
    expect(wrong.map(show)).toEqual([]);
  });

  it.each([
    ["sharp", "src/vlm/image/sharp.ts"],
    ["koffi", "src/vlm/runtime/ort.ts"],
    ["@huggingface/jinja", "src/vlm/text/render-template.ts"],
    ["@huggingface/transformers", "src/vlm/text/tokenizer.ts"],
    ["node-napcat-ts", "src/bot/napcat/connection.ts"],
    ["libsql", "src/bot/store/database.ts"],
    ["jsonc-parser", "src/cli/config/config-text.ts"],
    ["@inquirer/prompts", "src/cli/init/questions.ts"],
    ["openai", "src/vlm/remote/open-ai-client.ts"],
    ["socks", "src/vlm/hub/socks-tunnel.ts"],
  ])("imports %s in one file", (name, home) => {
    const users = imports.filter(({ target, typeOnly }) => target === name && !typeOnly);
    expect([...new Set(users.map(({ file }) => file))]).toEqual([home]);
  });

  it("mentions onnxruntime-node where the runtime is found, and nowhere else", () => {
    const users = imports.filter(({ target }) => target === "onnxruntime-node");
    const wrong = users.filter(({ file }) => file !== "src/vlm/runtime/ort-library.ts");
    expect(wrong.map(show)).toEqual([]);
  });

  it("keeps servers, sockets and guards of URLs out of the model half", () => {
    const banned = ["hono", "@hono/node-server", "ipaddr.js", "node-napcat-ts", "ws"];
    expect(
      from("src/vlm/")
        .filter(({ target }) => banned.includes(target))
        .map(show),
    ).toEqual([]);
  });
});
