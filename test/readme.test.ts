// Both READMEs as pages: the same in both languages, snippets that are the examples, links that lead somewhere,
// commands that exist, sizes that follow from the graphs.

import { access } from "node:fs/promises";
import { describe, expect, it } from "vitest";
import { parseCommand } from "../src/cli/arguments.ts";
import { parseConfig } from "../src/vlm/checkpoint/config.ts";
import { decoderGraph } from "../src/vlm/convert/decoder-graph.ts";
import { visionGraph } from "../src/vlm/convert/vision-graph.ts";
import { DEFAULT_CONTEXT_TOKENS } from "../src/vlm/options.ts";
import { codes, fencedBlocks, headings, links, tables } from "./support/markdown.ts";
import { PAGES, type Page, read, root, texts } from "./support/readme.ts";
import { CONFIG_2B } from "./support/synthetic-checkpoint.ts";

const OTHER: Record<Page, Page> = {
  "README.md": "README.zh-CN.md",
  "README.zh-CN.md": "README.md",
};

describe.each(PAGES)("%s", (page) => {
  const text = texts[page];

  it("links the other language in its first line", () => {
    expect(text.split("\n")[0]).toContain(`](${OTHER[page]})`);
  });

  it("has the same headings, snippets and tables as the other language", () => {
    const shape = (other: Page) => ({
      headings: headings(texts[other]).map(({ level }) => level),
      blocks: fencedBlocks(texts[other]).map(({ language, label }) => ({ language, label })),
      tables: tables(texts[other]).map(({ label, rows }) => ({
        label,
        rows: rows.length,
        codes: rows.map((row) => codes(row.slice(0, 2).join(" ")).join(" ")),
      })),
    });
    expect(shape(page)).toEqual(shape(OTHER[page]));
  });

  it("shows examples word for word", async () => {
    const snippets = fencedBlocks(text).filter(({ language }) => /^[jt]sx?$/.test(language));
    expect(snippets.length).toBeGreaterThan(6);
    for (const { label, text: snippet } of snippets) {
      expect(label).toMatch(/^examples\/[\w./-]+\.ts$/);
      expect(snippet.trim()).toBe((await read(label)).trim());
    }
  });

  it("has links that lead somewhere", async () => {
    const anchors = headings(text).map(({ anchor }) => `#${anchor}`);
    for (const link of links(text)) {
      if (/^https?:/.test(link)) continue;
      if (link.startsWith("#")) expect(anchors).toContain(link);
      else await expect(access(root(link)), link).resolves.toBeUndefined();
    }
  });

  it("names commands and scripts that exist", async () => {
    const { scripts } = JSON.parse(await read("package.json")) as { scripts: object };
    const shell = fencedBlocks(text).filter(({ language }) => language === "sh");
    const commands = shell.map((block) => block.text.trim());
    expect(commands).toContain("npm ci && npm test");
    expect(commands).toContain("npm ci && npm start");
    for (const [, name = ""] of text.matchAll(/\bnpm run ([\w:]+)/g)) {
      expect(Object.keys(scripts)).toContain(name);
    }
    for (const [, rest = ""] of text.matchAll(
      /napcat-vlm ((?:start|convert|doctor|setup-cuda)[^`\n]*)/g,
    )) {
      const words = rest.replace(/#.*/, "").trim();
      expect(() => parseCommand(words.split(/\s+/)), rest).not.toThrow();
    }
  });

  it("says which Node.js it needs", async () => {
    const { engines } = JSON.parse(await read("package.json")) as { engines: { node: string } };
    expect(text).toContain(`Node.js ${engines.node.replace(">=", ">= ")}`);
  });

  it("gives package and memory sizes that follow from the graphs", () => {
    const rows = tables(text)[0]?.rows ?? [];
    expect(rows.map(([name]) => name)).toEqual(["2B", "4B", "8B"]);
    for (const [index, config] of [CONFIG_2B, CONFIG_4B, CONFIG_8B].entries()) {
      const { packages, memory } = sizesOf(config);
      expect(rows[index]?.slice(2)).toEqual([`${packages} GB`, `${memory} GB`]);
    }
  });
});

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
