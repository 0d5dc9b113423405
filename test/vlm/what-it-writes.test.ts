// What a model writes that nobody should read: thoughts without being asked, marks, the same words for ever.
// End to end, with tiny chat models that were given other heads.

import { mkdtemp, readFile, rm, writeFile } from "node:fs/promises";
import { tmpdir } from "node:os";
import { join } from "node:path";
import { afterAll, afterEach, beforeAll, describe, expect, it } from "vitest";
import { loadQwen3Vl } from "../../src/vlm/qwen3-vl.ts";
import type { Tokenizer } from "../../src/vlm/text/tokenizer.ts";
import type { VisionLanguageModel } from "../../src/vlm/vision-language-model.ts";
import { drawShapes } from "../support/draw.ts";
import { type HeadRows, tinyChatWithHead, writeInstead } from "../support/own-head.ts";
import { userMessage } from "../support/tiny-chat.ts";
import { loadTinyChat as loadTokenizer } from "./text/tokenizers.ts";

let tokenizer: Tokenizer;
let directory: string;
let redCircle: Buffer;
let model: VisionLanguageModel | undefined;

beforeAll(async () => {
  tokenizer = await loadTokenizer();
  directory = await mkdtemp(join(tmpdir(), "napcat-vlm-head-"));
  redCircle = await drawShapes([{ shape: "circle", color: "red" }]);
});
afterAll(() => rm(directory, { recursive: true, force: true }));
afterEach(() => model?.dispose());

interface Patch {
  readonly head?: (rows: HeadRows) => void;
  /** Opens a thought in the prompt. */
  readonly thinking?: boolean;
  readonly eosTokenIds?: number | readonly number[];
}

let models = 0;
async function load({ head = () => {}, thinking = false, eosTokenIds }: Patch) {
  const dir = await tinyChatWithHead(join(directory, String(models++)), head);
  if (thinking) {
    await editJson(join(dir, "chat_template.json"), (json) => ({
      chat_template: String(json.chat_template).replace("assistant\n'", "assistant\n<think>\n'"),
    }));
  }
  if (eosTokenIds !== undefined) {
    await editJson(join(dir, "generation_config.json"), (json) => ({
      ...json,
      eos_token_id: eosTokenIds,
    }));
  }
  model = await loadQwen3Vl({ model: dir, precision: "fp32", onWarning: () => {} });
  return model;
}

async function editJson(file: string, edit: (json: Record<string, unknown>) => object) {
  await writeFile(file, JSON.stringify(edit(JSON.parse(await readFile(file, "utf8")))));
}

/** Of text that is one token. */
function tokenOf(text: string): number {
  const special = tokenizer.findSpecial(text);
  if (special !== undefined) return special;
  const [id = -1, ...more] = tokenizer.encodeText(text);
  expect(more).toEqual([]);
  return id;
}

const ask = (loaded: VisionLanguageModel, text: string, options: object = {}) =>
  loaded.generate({ messages: [userMessage(redCircle, text)], temperature: 0, ...options });

describe("a thought that nobody asked for", () => {
  it("is reasoning, and no part of the answer", async () => {
    const loaded = await load({
      head: (rows) => {
        writeInstead(rows, tokenOf("The"), tokenOf("<think>"));
        writeInstead(rows, tokenOf(" picture"), tokenOf("</think>"));
      },
    });
    expect(loaded.info.thinking).toBe(false);
    const answer = await ask(loaded, "What is in the picture?");
    expect(answer.text.trim()).toBe("shows a red circle.");
    expect(answer).toMatchObject({ reasoning: "", finishReason: "stop" });
    expect(answer.usage.reasoningTokens).toBe(2);
  });

  it("is closed when it does not end", async () => {
    const loaded = await load({
      head: (rows) => writeInstead(rows, tokenOf("The"), tokenOf("<think>")),
    });
    const answer = await ask(loaded, "What is in the picture?", { maxReasoningTokens: 3 });
    expect(answer.reasoning.trim()).toBe("picture shows");
    expect(answer.reasoningCut).toBe(true);
    expect(answer.text).not.toMatch(/think>/);
  });
});

describe("a thought that the prompt opens", () => {
  it("is closed after maxReasoningTokens, and the answer written", async () => {
    const loaded = await load({ thinking: true });
    const answer = await ask(loaded, "图里有什么？", { maxReasoningTokens: 2 });
    expect(answer.reasoning).toMatch(/^图里有/);
    expect(answer.text).not.toBe("");
    expect(answer).toMatchObject({ finishReason: "stop", reasoningCut: true });
  });

  it("is not begun with a budget of 0", async () => {
    const loaded = await load({ thinking: true });
    const answer = await ask(loaded, "图里有什么？", { maxReasoningTokens: 0 });
    expect(answer).toMatchObject({ reasoning: "", text: "图里有一个红色的圆形。" });
  });
});

describe("the end of an answer", () => {
  it("is <|im_end|>, whatever the files name", async () => {
    const loaded = await load({ eosTokenIds: tokenOf("<|endoftext|>") });
    const answer = await ask(loaded, "图里有什么？");
    expect(answer).toMatchObject({ text: "图里有一个红色的圆形。", finishReason: "stop" });
  });

  it("is a <|im_start|> that the model writes", async () => {
    const loaded = await load({
      head: (rows) => writeInstead(rows, tokenOf("<|im_end|>"), tokenOf("<|im_start|>")),
    });
    const answer = await ask(loaded, "图里有什么？");
    expect(answer).toMatchObject({ text: "图里有一个红色的圆形。", finishReason: "stop" });
  });
});

describe("the same words for ever", () => {
  it("end the answer, of which one copy stays", async () => {
    const loaded = await load({
      head: ({ head }) => {
        for (const mark of ["<|im_end|>", "<|endoftext|>"]) head(tokenOf(mark)).fill(0);
      },
    });
    const answer = await ask(loaded, "图里有什么？");
    expect(answer.finishReason).toBe("repetition");
    expect(answer.usage.completionTokens).toBeLessThan(1024);
    expect(answer.text).toMatch(/^图里有一个红色的圆形。/);
    expect(answer.text).not.toMatch(/(.{1,20})\1{5}$/su);
    expect(answer).not.toHaveProperty("repeatedCharacters");
  });
});
