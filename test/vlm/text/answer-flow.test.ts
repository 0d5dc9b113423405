import { describe, expect, it } from "vitest";
import { AnswerFlow, type AnswerFlowOptions } from "../../../src/vlm/text/answer-flow.ts";
import type { AnswerPart } from "../../../src/vlm/text/tool-call-stream.ts";
import type { ToolCallPart } from "../../../src/vlm/vision-language-model.ts";

/** One token per byte, then marks. */
const MARKS = ["<think>", "</think>", "<|im_end|>", "<|im_start|>", "<|endoftext|>", "<|box|>"];
const id = (mark: string) => 256 + MARKS.indexOf(mark);
const bytes = (text: string): number[] => [...Buffer.from(text)];

function tokenizer({ thinking = false, marks = true } = {}): AnswerFlowOptions["tokenizer"] {
  return {
    thinking,
    findSpecial: (name) =>
      MARKS.includes(name) && (marks || !name.includes("think")) ? id(name) : undefined,
    isSpecial: (token) => token >= id("<|im_end|>"),
    tokenBytes: (token) =>
      token < 256 ? Uint8Array.of(token) : Buffer.from(MARKS[token - 256] ?? ""),
    encodeText: bytes,
  };
}

/** Answers by script: what the model would write, token by token; the last one for ever. */
function run(script: readonly number[], options: Partial<AnswerFlowOptions> = {}) {
  const answer = new AnswerFlow({
    tokenizer: tokenizer(),
    eosTokenIds: new Set([id("<|im_end|>")]),
    stop: [],
    maxTokens: 1000,
    maxReasoningTokens: 1000,
    contextRoom: 10_000,
    ...options,
  });
  const taken: number[] = [];
  const shown = { "text-delta": "", "reasoning-delta": "" };
  const calls: ToolCallPart[] = [];
  const show = (parts: readonly AnswerPart[]) => {
    for (const part of parts) {
      if (part.type === "tool-call") calls.push(part);
      else shown[part.type] += part.text;
    }
  };
  let written = 0;
  while (answer.finishReason === undefined) {
    const next = answer.due ?? script[Math.min(written++, script.length - 1)]!;
    taken.push(next);
    show(answer.take(next));
  }
  show(answer.end());
  return { answer, taken, calls, text: shown["text-delta"], reasoning: shown["reasoning-delta"] };
}

const END = id("<|im_end|>");

describe("AnswerFlow", () => {
  it("takes tokens until the end, maxTokens, or the end of the context", () => {
    expect(run([...bytes("hi"), END])).toMatchObject({
      text: "hi",
      answer: { completionTokens: 2, finishReason: "stop" },
    });
    const letters = bytes("abcdefghijkl");
    expect(run(letters, { maxTokens: 5 })).toMatchObject({
      text: "abcde",
      answer: { finishReason: "max-tokens" },
    });
    // The last token needs no room: nothing comes after it.
    expect(run(letters, { contextRoom: 5 })).toMatchObject({
      text: "abcdef",
      answer: { finishReason: "context-full" },
    });
    expect(run(letters, { stop: ["de"] })).toMatchObject({
      text: "abc",
      answer: { finishReason: "stop-string" },
    });
  });

  it("closes a thought that has used up its tokens, and says so", () => {
    const thinking = tokenizer({ thinking: true });
    const script = [...bytes("let me see"), ...bytes("It is red."), END];
    const { answer, taken, text, reasoning } = run(script, {
      tokenizer: thinking,
      maxReasoningTokens: 10,
    });
    expect(reasoning).toBe("let me see");
    expect(text).toBe("It is red.");
    expect(taken.slice(10, 14)).toEqual([...bytes("\n"), id("</think>"), ...bytes("\n\n")]);
    expect(answer).toMatchObject({
      reasoningCut: true,
      reasoningTokens: 12,
      completionTokens: 24,
      finishReason: "stop",
    });
  });

  it("leaves a thought alone that ends by itself", () => {
    const script = [...bytes("hm\n"), id("</think>"), ...bytes("\n\nyes"), END];
    const { answer, text, reasoning } = run(script, {
      tokenizer: tokenizer({ thinking: true }),
      maxReasoningTokens: 10,
    });
    expect([reasoning, text, answer.reasoningCut]).toEqual(["hm", "yes", false]);
  });

  it("begins no thought with a budget of 0", () => {
    const script = [...bytes("yes"), END];
    const { taken, text, reasoning } = run(script, {
      tokenizer: tokenizer({ thinking: true }),
      maxReasoningTokens: 0,
    });
    expect(taken[1]).toBe(id("</think>"));
    expect([reasoning, text]).toEqual(["", "yes"]);
  });

  it("keeps a quarter of the room for the answer, of maxTokens or of the context", () => {
    const script = [...bytes("abcdefghijklmnopqrstuvwxyz".repeat(20))];
    for (const room of [{ maxTokens: 40 }, { contextRoom: 40 }]) {
      const { text, reasoning } = run(script, {
        tokenizer: tokenizer({ thinking: true }),
        ...room,
      });
      expect(reasoning).toHaveLength(30);
      expect(text.length).toBeGreaterThan(5);
    }
  });

  it("closes a thought that the model opened by itself, in a token or in letters", () => {
    for (const marks of [true, false]) {
      const opening = marks ? [id("<think>")] : bytes("<think>");
      const script = [...opening, ...bytes("abc"), ...bytes("red"), END];
      const options = { tokenizer: tokenizer({ marks }), maxReasoningTokens: marks ? 4 : 3 };
      const { answer, text, reasoning } = run(script, options);
      expect([reasoning, text]).toEqual(["abc", "red"]);
      expect(answer.reasoningCut).toBe(true);
    }
  });

  it("stops at an end inside a thought, with nothing but reasoning", () => {
    const { answer, text, reasoning } = run([...bytes("hm"), END], {
      tokenizer: tokenizer({ thinking: true }),
    });
    expect([reasoning, text, answer.finishReason]).toEqual(["hm", "", "stop"]);
  });

  it("notices a loop, and says how much of the text is copies", () => {
    const line = "again and again. ";
    const { answer, text } = run(bytes(`Well: ${line.repeat(100)}`));
    expect(answer.finishReason).toBe("repetition");
    expect(text.slice(0, text.length - answer.repeatedCharacters)).toBe(`Well: ${line}`.trim());
  });

  it("notices a loop of what is never shown", () => {
    const { answer, text } = run([...bytes("ok"), id("<|box|>")]);
    expect([answer.finishReason, text, answer.repeatedCharacters]).toEqual(["repetition", "ok", 0]);
    expect(answer.completionTokens).toBeLessThan(400);
  });

  it("does not show at the end what a stop string held back of a copy", () => {
    const { answer, text } = run(bytes("na ".repeat(500)), { stop: ["na !"] });
    expect(text.slice(0, text.length - answer.repeatedCharacters)).toMatch(/^(na )?(na?)?$/);
  });

  it("comes out of a thought that goes in circles", () => {
    const script = [...bytes("round ".repeat(40)).slice(0, 120), ...bytes("red"), END];
    const { answer, text } = run(script, { tokenizer: tokenizer({ thinking: true }) });
    expect(answer).toMatchObject({ reasoningCut: true, finishReason: "stop" });
    expect(text).toContain("red");
  });
});
