// Calls of tools in whole answers, with the tokens of Qwen3.

import { beforeAll, describe, expect, it } from "vitest";
import { AnswerFlow } from "../../../src/vlm/text/answer-flow.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import type { AnswerPart } from "../../../src/vlm/text/tool-call-stream.ts";
import type { ToolChoice } from "../../../src/vlm/vision-language-model.ts";
import { asThinking, loadQwen3 } from "./tokenizers.ts";

let tokenizer: Tokenizer;
beforeAll(async () => {
  tokenizer = await loadQwen3();
});

const MARKS = /(<tool_call>|<\/tool_call>|<think>|<\/think>|<\|im_end\|>)/u;
const TOOLS = [{ name: "look", parameters: {} }];
const CALL = '<tool_call>\n{"name": "look", "arguments": {"where": "左"}}\n</tool_call>';
const LOOK = { type: "tool-call", id: "call_0", name: "look", arguments: '{"where":"左"}' };

interface Writing {
  readonly tools?: typeof TOOLS;
  readonly toolChoice?: ToolChoice;
  readonly parallelToolCalls?: boolean;
  readonly maxTokens?: number;
  readonly thinking?: boolean;
}

/** Lets a model write this, its marks as the tokens they are, and shows what comes of it. */
function write(script: string, { thinking = false, ...options }: Writing = {}) {
  const ids = script
    .split(MARKS)
    .flatMap((piece) =>
      MARKS.test(piece) ? [tokenizer.specialId(piece)] : tokenizer.encodeText(piece),
    );
  const flow = new AnswerFlow({
    tokenizer: asThinking(tokenizer, thinking),
    eosTokenIds: new Set([tokenizer.specialId("<|im_end|>")]),
    stop: [],
    tools: TOOLS,
    maxTokens: 1000,
    maxReasoningTokens: 1000,
    contextRoom: 10_000,
    ...options,
  });
  const parts: AnswerPart[] = [];
  const forced: number[] = [];
  while (flow.finishReason === undefined) {
    const { due } = flow;
    if (due !== undefined) forced.push(due);
    parts.push(...flow.take(due ?? ids.shift()!));
  }
  parts.push(...flow.end());
  const text = parts.map((part) => (part.type === "text-delta" ? part.text : "")).join("");
  const calls = parts.filter((part) => part.type === "tool-call");
  const { finishReason, completionTokens } = flow;
  return { text, calls, parts, finishReason, completionTokens, forced };
}

describe("an answer with calls", () => {
  it("keeps text apart from calls, in front, between and behind", () => {
    const { text, calls, finishReason } = write(`我看看。\n${CALL}\n还有\n${CALL}完<|im_end|>`);
    expect(text).toBe("我看看。\n\n还有\n完");
    expect(calls).toEqual([LOOK, { ...LOOK, id: "call_1" }]);
    expect(finishReason).toBe("tool-calls");
  });

  it("tells of a call as soon as it is whole", () => {
    const { parts } = write(`${CALL}然后<|im_end|>`);
    expect(parts.map(({ type }) => type)).toEqual(["tool-call", "text-delta"]);
  });

  it("reads a call whose end mark is missing when the model ended there, and hides one that was cut", () => {
    const unclosed = CALL.replace("</tool_call>", "");
    expect(write(`${unclosed}<|im_end|>`)).toMatchObject({
      calls: [LOOK],
      finishReason: "tool-calls",
    });
    const cut = write(`好。${unclosed}`, { maxTokens: 9 });
    expect(cut).toMatchObject({ text: "好。", calls: [], finishReason: "max-tokens" });
  });

  it("runs nothing that was called in a thought", () => {
    const { text, calls } = write(`想想${CALL}</think>\n\n不用。<|im_end|>`, { thinking: true });
    expect({ text, calls }).toEqual({ text: "不用。", calls: [] });
  });

  it.each(["", "```json\n"])(
    "takes bare JSON for a call when it is the whole answer: %j",
    (fence) => {
      const bare = `${fence}{"name": "look", "arguments": {"where": "左"}}${fence && "\n```"}`;
      expect(write(`${bare}<|im_end|>`)).toMatchObject({ text: "", calls: [LOOK] });
      const stranger = bare.replace("look", "other");
      expect(write(`${stranger}<|im_end|>`)).toMatchObject({ text: stranger, calls: [] });
      const cut = write(bare, { maxTokens: 6 });
      expect(cut.calls).toEqual([]);
      expect(bare.startsWith(cut.text) && cut.text !== "").toBe(true);
    },
  );

  it("ends with its first call where no more are wanted", () => {
    const one = { parallelToolCalls: false };
    const { text, calls, finishReason, completionTokens } = write(
      `看。${CALL}还有${CALL}<|im_end|>`,
      one,
    );
    expect({ text, calls, finishReason }).toEqual({
      text: "看。",
      calls: [LOOK],
      finishReason: "tool-calls",
    });
    expect(completionTokens).toBe(write(`看。${CALL}<|im_end|>`).completionTokens);
    const block = '{"name": "look", "arguments": {}}';
    for (const both of [`<tool_call>${block}\n${block}</tool_call>`, `[${block}, ${block}]`]) {
      expect(write(`${both}<|im_end|>`).calls).toHaveLength(2);
      expect(write(`${both}<|im_end|>`, one)).toMatchObject({
        calls: [{ name: "look" }],
        finishReason: "tool-calls",
      });
    }
    // A call that cannot be read is one too: the model has to hear of it before it goes on.
    const broken = '<tool_call>{"name": "look", "arguments": [1</tool_call>';
    expect(write(`${broken}${CALL}<|im_end|>`, one).calls).toMatchObject([{ invalid: true }]);
  });

  it("lets JSON through that is no call, and text at once", () => {
    expect(write("[1, 2]<|im_end|>").text).toBe("[1, 2]");
    expect(write("好的<|im_end|>").parts[0]).toEqual({ type: "text-delta", text: "好的" });
  });

  it("tells of a call that cannot be read, as the model wrote it", () => {
    const { calls } = write('<tool_call>{"name": "look", "arguments": [1</tool_call><|im_end|>');
    expect(calls).toMatchObject([{ name: "look", invalid: true }]);
  });

  it("is text where no tools were given", () => {
    const { text, calls } = write(`${CALL}<|im_end|>`, { tools: [] });
    expect(calls).toEqual([]);
    expect(text).toContain('"name": "look"');
  });
});

describe("a call that has to be made", () => {
  it.each([["required"], [{ name: "look" }]] as const)("begins the answer: %j", (toolChoice) => {
    const { calls, forced } = write('"where": "左"}}\n</tool_call><|im_end|>', { toolChoice });
    expect(tokenizer.decode(forced)).toBe('<tool_call>\n{"name": "look", "arguments": {');
    expect(calls).toEqual([LOOK]);
  });

  it("is the model's to choose among several", () => {
    const tools = [...TOOLS, { name: "hear", parameters: {} }];
    const options = { toolChoice: "required", tools } as const;
    const { calls } = write('hear", "arguments": {}}\n</tool_call><|im_end|>', options);
    expect(calls).toMatchObject([{ name: "hear", arguments: "{}" }]);
  });

  it("comes after the thought", () => {
    const options = { toolChoice: "required", thinking: true } as const;
    const { calls } = write('想想</think>"where": "左"}}\n</tool_call><|im_end|>', options);
    expect(calls).toEqual([LOOK]);
  });
});
