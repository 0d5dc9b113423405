import { readdir } from "node:fs/promises";
import { Ajv } from "ajv";
import { describe, expect, it } from "vitest";
import { descriptionsIn, editorSchema } from "../../../src/cli/config/editor-schema.ts";
import { blockOf, books, read, root, tableOf } from "../../support/book.ts";
import { codes } from "../../support/markdown.ts";

/** As `scripts/copy-assets.js` makes it. */
const descriptions = descriptionsIn(books.en.slice(1).map(({ text }) => text));
const schema = editorSchema(descriptions);
const tree = schema as unknown as Node;
const validate = new Ajv({ allErrors: true, strict: false }).compile(schema);

/** Comments and commas are the parser's affair. */
const plain = (text: string): unknown =>
  JSON.parse(text.replace(/^\s*\/\/.*$/gmu, "").replace(/,(?=\s*[}\]])/gu, ""));

function refusals(value: unknown): readonly string[] {
  expect(validate(value)).toBe(false);
  return (validate.errors ?? []).map(({ instancePath }) => instancePath);
}

interface Node {
  readonly properties?: Readonly<Record<string, Node>>;
  readonly anyOf?: readonly Node[];
  readonly description?: string;
}

function find(node: Node, [key = "", ...more]: readonly string[]): Node | undefined {
  const inner =
    node.properties?.[key] ?? node.anyOf?.map((kind) => find(kind, [key])).find(Boolean);
  return inner === undefined || more.length === 0 ? inner : find(inner, more);
}

describe("the schema for editors", () => {
  it("takes the documented example", () => {
    expect(
      validate(plain(blockOf("en", "configuration: example"))),
      JSON.stringify(validate.errors),
    ).toBe(true);
    expect(validate({ napcat: "ws://a", port: 7, model: "m" })).toBe(true);
  });

  it("takes a variable in place of a text of a certain form", () => {
    const variable = ["$", "{SECRET_1}"].join("");
    expect(validate({ debugHttp: { token: variable }, device: variable })).toBe(true);
    expect(refusals({ debugHttp: { token: "short" } })).toContain("/debugHttp/token");
  });

  it("refuses a key that nobody knows, a wrong kind and a wrong choice", () => {
    expect(refusals({ prot: 1 })).toEqual([""]);
    expect(refusals({ bot: { reply: { qoute: "never" } } })).toContain("/bot/reply");
    expect(refusals({ bot: { reply: { quote: "sometimes" } } })).toContain("/bot/reply/quote");
    expect(refusals({ bot: { limits: { personPerMinute: "3" } } })).toContain(
      "/bot/limits/personPerMinute",
    );
    expect(refusals({ bot: { chats: { "grup:1": {} } } })).toContain("/bot/chats");
    expect(refusals({ bot: { onError: {} } })).toEqual(["/bot"]);
  });

  it.each([
    ["options: connectNapCat", "napcat"],
    ["options: loadQwen3Vl", "vlm"],
    ["options: installVlm", "bot"],
    ["options: startDebugServer", "debugHttp"],
    ["options: openChatStore", "store"],
  ])(
    "has every option of the table %s that a file can hold, with what it says",
    (label, section) => {
      const without = tableOf("en", "configuration: sections").find(
        ([name = ""]) => codes(name)[0] === section,
      );
      const code = [
        ...codes(without?.[2] ?? ""),
        "commands.own",
        "commands.onReload",
        "images.notes",
      ];
      for (const [cell = "", , text = ""] of tableOf("en", label)) {
        const [option = ""] = codes(cell);
        if (code.includes(option)) continue;
        const found = find(tree, [section, ...option.split(".")]);
        expect(found, `${section}.${option}`).toBeDefined();
        expect(found?.description, `${section}.${option}`).toContain(
          text.split(/[`[]/u)[0]?.trim() ?? "",
        );
      }
    },
  );

  it("describes every section and short key", () => {
    for (const [key, { description }] of Object.entries(tree.properties ?? {})) {
      if (key !== "$schema") expect(description, key).toMatch(/\S/);
    }
  });

  it("depends on no machine, and is in the package", async () => {
    expect(JSON.stringify(find(tree, ["vlm", "threads"]))).not.toContain("maximum");
    const { exports, files } = JSON.parse(await read("package.json"));
    expect(exports["./schema.json"]).toBe("./dist/napcat-vlm.schema.json");
    expect(files).toContain("dist");
    expect(await readdir(root("scripts"))).toContain("copy-assets.js");
  });
});
