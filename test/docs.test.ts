// The README and docs/ as pages: the same in both languages, snippets that are the examples, links that lead
// somewhere, commands that exist, sizes that follow from the graphs.

import { access, readdir } from "node:fs/promises";
import { posix } from "node:path";
import { describe, expect, it } from "vitest";
import { parseCommand } from "../src/cli/arguments.ts";
import { parseConfig } from "../src/vlm/checkpoint/config.ts";
import { decoderGraph } from "../src/vlm/convert/decoder-graph.ts";
import { visionGraph } from "../src/vlm/convert/vision-graph.ts";
import { DEFAULT_CONTEXT_TOKENS } from "../src/vlm/options.ts";
import { books, LANGUAGES, type Language, type Page, read, root, tableOf } from "./support/book.ts";
import { codes, fencedBlocks, headings, links, tables } from "./support/markdown.ts";
import { CONFIG_2B } from "./support/synthetic-checkpoint.ts";

const OTHER: Record<Language, Language> = { en: "zh-CN", "zh-CN": "en" };

/** A page in the other language. */
function counterpart(language: Language, { name }: Page): Page {
  const page = books[OTHER[language]].find((other) => other.name === name);
  if (!page) throw new Error(`${name} is missing in ${OTHER[language]}.`);
  return page;
}

/** From one page to a file, as a link in it would say. */
function linkTo(from: Page, path: string): string {
  return posix.relative(posix.dirname(from.path), path);
}

/** What must be the same in both languages. */
function shape({ text }: Page) {
  return {
    headings: headings(text).map(({ level }) => level),
    blocks: fencedBlocks(text).map(({ language, label }) => ({ language, label })),
    tables: tables(text).map(({ label, rows }) => ({
      label,
      rows: rows.length,
      codes: rows.map((row) => codes(row.slice(0, 2).join(" ")).join(" ")),
    })),
  };
}

const PAGES = LANGUAGES.flatMap((language) =>
  books[language].map((page) => [page.path, language, page] as const),
);

it("has the same pages in both languages", () => {
  const names = (language: Language) => books[language].map(({ name }) => name);
  expect(names("en")).toEqual(names("zh-CN"));
  expect(names("en").length).toBeGreaterThan(6);
});

it.each(LANGUAGES)("reaches every page of %s from its README", (language) => {
  const [readme, ...pages] = books[language];
  for (const page of pages) expect(links(readme!.text)).toContain(linkTo(readme!, page.path));
});

it.each(LANGUAGES)("shows every example in %s", async (language) => {
  const shown = books[language].flatMap(({ text }) => fencedBlocks(text).map(({ label }) => label));
  const examples = (await readdir(root("examples"))).filter((file) => file.endsWith(".ts"));
  expect(examples.length).toBeGreaterThan(6);
  expect(shown).toEqual(expect.arrayContaining(examples.map((file) => `examples/${file}`)));
});

it("keeps the READMEs short enough for five minutes", () => {
  for (const language of LANGUAGES) {
    expect(books[language][0]!.text.split("\n").length).toBeLessThan(160);
  }
});

describe.each(PAGES)("%s", (_path, language, page) => {
  const { text } = page;

  it("links the other language in its first line", () => {
    const other = linkTo(page, counterpart(language, page).path);
    expect(text.split("\n")[0]).toContain(`](${other})`);
  });

  it("has the same headings, snippets and tables as the other language", () => {
    expect(shape(page)).toEqual(shape(counterpart(language, page)));
  });

  it("shows examples word for word", async () => {
    for (const block of fencedBlocks(text)) {
      if (!/^[jt]sx?$/.test(block.language)) continue;
      expect(block.label).toMatch(/^examples\/[\w./-]+\.ts$/);
      expect(block.text.trim()).toBe((await read(block.label)).trim());
    }
  });

  it("has links that lead somewhere", async () => {
    for (const link of links(text)) {
      if (/^https?:/.test(link)) continue;
      const [file = "", anchor] = link.split("#");
      const target = file === "" ? page.path : posix.join(posix.dirname(page.path), file);
      await expect(access(root(target)), link).resolves.toBeUndefined();
      if (anchor === undefined) continue;
      const anchors = headings(await read(target)).map((heading) => heading.anchor);
      expect(anchors, link).toContain(anchor);
    }
  });

  it("names commands and scripts that exist", async () => {
    const { scripts } = JSON.parse(await read("package.json")) as { scripts: object };
    for (const [, name = ""] of text.matchAll(/\bnpm run ([\w:]+)/g)) {
      expect(Object.keys(scripts)).toContain(name);
    }
    for (const [, rest = ""] of text.matchAll(
      /napcat-vlm ((?:start|convert|doctor|setup-cuda|pull|list|remove|verify|path)[^`\n]*)/g,
    )) {
      const words = rest.replace(/#.*/, "").trim();
      expect(() => parseCommand(words.split(/\s+/)), rest).not.toThrow();
    }
  });
});

describe.each(LANGUAGES)("the README in %s", (language) => {
  const { text } = books[language][0]!;

  it("has the two commands", () => {
    const shell = fencedBlocks(text).filter(({ language }) => language === "sh");
    const commands = shell.map((block) => block.text.trim());
    expect(commands).toContain("npm ci && npm test");
    expect(commands).toContain("npm ci && npm start");
  });

  it("says which Node.js it needs", async () => {
    const { engines } = JSON.parse(await read("package.json")) as { engines: { node: string } };
    expect(text).toContain(`Node.js ${engines.node.replace(">=", ">= ")}`);
  });
});

it.each(LANGUAGES)(
  "gives package and memory sizes in %s that follow from the graphs",
  (language) => {
    const rows = tableOf(language, "sizes");
    expect(rows.map(([name]) => name)).toEqual(["2B", "4B", "8B"]);
    for (const [index, config] of [CONFIG_2B, CONFIG_4B, CONFIG_8B].entries()) {
      const { packages, memory } = sizesOf(config);
      expect(rows[index]?.slice(2)).toEqual([`${packages} GB`, `${memory} GB`]);
    }
  },
);

const CONFIG_4B = {
  ...CONFIG_2B,
  text_config: {
    ...CONFIG_2B.text_config,
    hidden_size: 2560,
    intermediate_size: 9728,
    num_hidden_layers: 36,
    num_attention_heads: 32,
  },
  vision_config: { ...CONFIG_2B.vision_config, out_hidden_size: 2560 },
};
const CONFIG_8B = {
  ...CONFIG_2B,
  tie_word_embeddings: false,
  text_config: {
    ...CONFIG_4B.text_config,
    hidden_size: 4096,
    intermediate_size: 12288,
  },
  vision_config: {
    ...CONFIG_2B.vision_config,
    depth: 27,
    hidden_size: 1152,
    intermediate_size: 4304,
    out_hidden_size: 4096,
    deepstack_visual_indexes: [8, 16, 24],
  },
};

/** In GB, for w8a8, q4 and fp32. */
function sizesOf(json: object): { packages: string; memory: string } {
  const config = parseConfig(json, "config.json");
  const { vocabSize, hiddenSize, layers, kvHeads, headSize } = config.text;
  const embedding = 2 * vocabSize * hiddenSize;
  const context = 2 * layers * kvHeads * headSize * 4 * DEFAULT_CONTEXT_TOKENS;
  const weights = (["w8a8", "q4", "fp32"] as const).map(
    (precision) =>
      decoderGraph(config, precision).model.externalByteLength +
      visionGraph(config, precision === "fp32" ? "fp32" : "w8a8").model.externalByteLength,
  );
  const list = (extra: number) =>
    weights.map((bytes) => ((bytes + extra) / 1e9).toFixed(1)).join(" / ");
  return { packages: list(embedding), memory: list(context) };
}
