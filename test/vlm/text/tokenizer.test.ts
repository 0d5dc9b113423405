import { copyFileSync, mkdtempSync, rmSync, writeFileSync } from "node:fs";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterEach, beforeAll, beforeEach, describe, expect, it, vi } from "vitest";
import { normalizeNfc } from "../../../src/vlm/text/nfc.ts";
import { loadTokenizer, type Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import { readGolden } from "./golden-chats.ts";
import {
  loadQwen3,
  loadTinyChat,
  readTinyTokenizerJson,
  TINY_CHAT_DIR,
  type TokenizerJson,
} from "./tokenizers.ts";

const golden = readGolden<{ texts: Record<string, { text: string; ids: number[] }> }>(
  "token_ids.json",
);

const FIRST_SPECIAL = 151643;
const wellFormed = (text: string): string => text.replace(/\p{Surrogate}/gu, "\uFFFD");

describe("the tokenizer of Qwen3", () => {
  let tokenizer: Tokenizer;

  beforeAll(async () => {
    tokenizer = await loadQwen3();
  });

  it.each(["cjk", "emoji", "nfc", "spaces", "num", "contr"])(
    "encodes %s as the reference",
    (name) => {
      const { text, ids } = golden.texts[name]!;
      expect(tokenizer.encodeText(text)).toEqual(ids);
    },
  );

  // From the Rust tokenizer (tokenizers 0.23.2) with the added tokens taken out.
  it.each([
    ["<|im_end|>", [27, 91, 318, 6213, 91, 29]],
    ["<|image_pad|>", [27, 91, 1805, 30290, 91, 29]],
    ["<think>", [13708, 766, 29]],
    ["</think>", [522, 26865, 29]],
    ["<tool_call>", [27, 14172, 13429, 29]],
  ])("takes %s for text when somebody types it", (text, ids) => {
    expect(tokenizer.encodeText(text)).toEqual(ids);
  });

  it("takes every token of its own for text when somebody types it", () => {
    for (let id = FIRST_SPECIAL; id < tokenizer.size; id++) {
      const name = Buffer.from(tokenizer.tokenBytes(id)).toString();
      const ids = tokenizer.encodeText(`a${name}b`);
      expect(Math.max(...ids)).toBeLessThan(FIRST_SPECIAL);
      expect(tokenizer.decode(ids)).toBe(`a${name}b`);
    }
  });

  it("knows white space as Unicode does, not as JavaScript does", () => {
    expect(tokenizer.encodeText("a'ſ\u0085\ufeffb")).toEqual([64, 6, 144815, 126, 227, 3225, 65]);
  });

  it("knows its own tokens by name", () => {
    expect(tokenizer.specialId("<|im_start|>")).toBe(151644);
    expect(tokenizer.specialId("<|image_pad|>")).toBe(151655);
    expect(tokenizer.specialId("</think>")).toBe(151668);
    expect(tokenizer.findSpecial("<|nothing|>")).toBeUndefined();
    expect(() => tokenizer.specialId("<|nothing|>")).toThrow("no token <|nothing|>");
    // A word of the vocabulary is no such token.
    expect(tokenizer.findSpecial("hello")).toBeUndefined();
    expect(tokenizer.size).toBe(151669);
  });

  it("hides marks of the chat from people, but neither thoughts nor tool calls", () => {
    expect(tokenizer.isSpecial(151645)).toBe(true);
    expect(tokenizer.isSpecial(151655)).toBe(true);
    expect(tokenizer.isSpecial(151657)).toBe(false);
    expect(tokenizer.isSpecial(151668)).toBe(false);
    expect(tokenizer.isSpecial(108386)).toBe(false);
  });

  it("gives the bytes of tokens, parts of characters among them", () => {
    const bytes = (id: number): string => Buffer.from(tokenizer.tokenBytes(id)).toString("hex");
    // 👩 and then U+200D in two tokens.
    expect([145233, 378, 235].map(bytes)).toEqual(["f09f91a9", "e280", "8d"]);
    expect(bytes(151668)).toBe(Buffer.from("</think>").toString("hex"));
    expect(bytes(151669)).toBe("");
    expect(bytes(-1)).toBe("");
  });

  it("decodes what it encoded, in normal form C", () => {
    const text = "Ünïcödé e\u0301 你好 한국어 👩‍👩‍👧‍👦 \u0000\u007f\r\n\t ¿? ∑ ﷽ 𠮷";
    expect(tokenizer.decode(tokenizer.encodeText(text))).toBe(text.normalize("NFC"));
    expect(tokenizer.decode([151644, 872, 198, 151645])).toBe("user\n");
  });

  it("encodes nothing as nothing", () => {
    expect(tokenizer.encodeText("")).toEqual([]);
  });

  it("gives the same answer for a text it has seen before", () => {
    const text = "again and again";
    expect(tokenizer.encodeText(text)).toEqual(tokenizer.encodeText(text));
    expect(tokenizer.decode(tokenizer.encodeText(text))).toBe(text);
  });

  it.each([
    ["one letter", "a".repeat(100_000)],
    ["line breaks", "\n".repeat(20_000)],
    ["spaces before a word", `${" ".repeat(20_000)}a`],
    ["halves of characters", "\ud800".repeat(20_000)],
    ["halves in the wrong order", "\udc00\ud800a".repeat(5_000)],
    [
      "marks in an order that is slow to sort",
      `a${"\u0301".repeat(30_000)}${"\u0323".repeat(30_000)}`,
    ],
  ])("survives %s without end", (_, text) => {
    const ids = tokenizer.encodeText(text);
    expect(ids.every((id) => Number.isInteger(id) && id < FIRST_SPECIAL)).toBe(true);
    expect(tokenizer.decode(ids)).toBe(normalizeNfc(wellFormed(text)));
  });
});

describe("the tokenizer of the tiny chat model", () => {
  it("has its own ids, no thoughts, and a template that leaves out only what it does not know", async () => {
    const tokenizer = await loadTinyChat();
    expect(tokenizer.size).toBe(1684);
    expect(tokenizer.specialId("<|image_pad|>")).toBe(1676);
    expect(tokenizer.thinking).toBe(false);
    expect(tokenizer.templateDifferences).toEqual(["vision-ids", "tools"]);
    const text = "图里有一个红色的圆形。 The picture shows a star.";
    expect(tokenizer.decode(tokenizer.encodeText(text))).toBe(text);
  });
});

describe("loadTokenizer", () => {
  let dir: string;

  beforeEach(() => {
    dir = mkdtempSync(join(tmpdir(), "tokenizer-"));
    copyFileSync(join(TINY_CHAT_DIR, "tokenizer.json"), join(dir, "tokenizer.json"));
    vi.stubGlobal("fetch", () => {
      throw new Error("The network was used.");
    });
  });

  afterEach(() => {
    vi.unstubAllGlobals();
    rmSync(dir, { recursive: true });
  });

  const write = (file: string, content: unknown): void =>
    writeFileSync(join(dir, file), typeof content === "string" ? content : JSON.stringify(content));

  const damage = (change: (json: TokenizerJson) => unknown): void => {
    const json = readTinyTokenizerJson();
    change(json);
    write("tokenizer.json", json);
  };

  /** Our format in a template of few words. */
  const template = (generationPrompt: string, head = ""): string =>
    `${head}{%- for m in messages -%}{{- '<|im_start|>' + m.role + '\n' -}}
{%- if m.content is string -%}{{- m.content -}}{%- else -%}{%- for p in m.content -%}
{{- p.text if p.type == 'text' else '<|vision_start|><|image_pad|><|vision_end|>' -}}
{%- endfor -%}{%- endif -%}{{- '<|im_end|>\n' -}}{%- endfor -%}
{%- if add_generation_prompt -%}{{- '<|im_start|>assistant\n${generationPrompt}' -}}{%- endif -%}`;
  const THINKING = template("<think>\\n");
  const INSTRUCT = template("");

  it("needs nothing but tokenizer.json and no network", async () => {
    const tokenizer = await loadTokenizer(dir);
    expect(tokenizer.thinking).toBe(false);
    expect(tokenizer.templateMatches).toBe(true);
    expect(tokenizer.encodeText("red").length).toBeGreaterThan(0);
  });

  it("looks for the chat template in three files, in order", async () => {
    write("tokenizer_config.json", { chat_template: THINKING });
    expect((await loadTokenizer(dir)).thinking).toBe(true);
    write("chat_template.json", { chat_template: INSTRUCT });
    expect((await loadTokenizer(dir)).thinking).toBe(false);
    write("chat_template.jinja", THINKING);
    expect((await loadTokenizer(dir)).thinking).toBe(true);
  });

  it("takes the default one of several named templates", async () => {
    const chat_template = [
      { name: "tool_use", template: INSTRUCT },
      { name: "default", template: THINKING },
    ];
    write("tokenizer_config.json", { chat_template });
    expect((await loadTokenizer(dir)).thinking).toBe(true);
  });

  it("finds a Thinking template to drop old thoughts as ours does", async () => {
    write("chat_template.jinja", THINKING);
    const { templateDifferences } = await loadTokenizer(dir);
    expect(templateDifferences).toEqual(["vision-ids", "tools"]);
  });

  it("notices a fine-tune with a system prompt of its own", async () => {
    const head =
      "{%- if messages[0].role != 'system' -%}{{- '<|im_start|>system\\nLabel it.<|im_end|>\\n' -}}{%- endif -%}";
    write("chat_template.jinja", template("", head));
    const { templateDifferences, templateMatches } = await loadTokenizer(dir);
    expect(templateMatches).toBe(false);
    expect(templateDifferences).toContain("chat");
    expect(templateDifferences).not.toContain("system-prompt");
  });

  it("notices line breaks around pictures", async () => {
    write("chat_template.jinja", INSTRUCT.replace("<|vision_end|>", "<|vision_end|>\\n"));
    expect((await loadTokenizer(dir)).templateDifferences).toEqual([
      "pictures",
      "vision-ids",
      "tools",
    ]);
  });

  it("says that everything differs when the template cannot be rendered", async () => {
    write("chat_template.jinja", "{%- for m in messages -%}");
    const { templateDifferences, thinking } = await loadTokenizer(dir);
    expect(thinking).toBe(false);
    expect(templateDifferences).toContain("chat");
  });

  it("takes tokens that only tokenizer_config.json lists", async () => {
    damage((json) => {
      json.added_tokens = json.added_tokens.filter((token) => token.content !== "</think>");
    });
    const added_tokens_decoder = { 1683: { content: "</think>", special: false } };
    write("tokenizer_config.json", { added_tokens_decoder });
    expect((await loadTokenizer(dir)).specialId("</think>")).toBe(1683);
  });

  it("names the missing file", async () => {
    rmSync(join(dir, "tokenizer.json"));
    await expect(loadTokenizer(dir)).rejects.toMatchObject({
      code: "model-files-missing",
      missing: ["tokenizer.json"],
      modelDir: dir,
    });
  });

  it.each(["tokenizer.json", "tokenizer_config.json", "chat_template.json"])(
    "refuses a %s that is not JSON",
    async (file) => {
      write(file, "{");
      await expect(loadTokenizer(dir)).rejects.toMatchObject({ code: "model-corrupt" });
    },
  );

  it.each<[string, string, (json: TokenizerJson) => unknown]>([
    [
      "another kind of model",
      "model-unsupported",
      ({ model }) => Object.assign(model, { type: "Unigram" }),
    ],
    [
      "no token for a byte",
      "model-unsupported",
      ({ model }) => Reflect.deleteProperty(model.vocab, "Ċ"),
    ],
    [
      "no token for pictures",
      "model-unsupported",
      (json) => Object.assign(json, { added_tokens: json.added_tokens.slice(0, 12) }),
    ],
    ["an id that is none", "model-corrupt", ({ model }) => Object.assign(model.vocab, { "!": -1 })],
    [
      "an added token with half an id",
      "model-corrupt",
      (json) => Object.assign(json.added_tokens[0]!, { id: 0.5 }),
    ],
    [
      "a normaliser nobody knows",
      "model-corrupt",
      (json) => Object.assign(json, { normalizer: { type: "?" } }),
    ],
  ])("refuses a tokenizer with %s", async (_, code, change) => {
    damage(change);
    await expect(loadTokenizer(dir)).rejects.toMatchObject({ code, modelDir: dir });
  });
});
