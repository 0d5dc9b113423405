// An answer as a script would write it: a token is a byte, and behind them come the marks of the chat format. The model
// writes what its script says wherever that may come, and else the first token that may. In: a script. Out: the answer.

import { allows } from "../../src/vlm/constrain/local-mask.ts";
import { ResponseFormats } from "../../src/vlm/constrain/response-format.ts";
import { AnswerFlow, type AnswerFlowOptions } from "../../src/vlm/text/answer-flow.ts";
import type { AnswerPart } from "../../src/vlm/text/tool-call-stream.ts";

const MARKS = ["<think>", "</think>", "<|im_end|>", "<tool_call>", "</tool_call>"];
export const id = (mark: string) => 256 + MARKS.indexOf(mark);
export const bytes = (text: string): number[] => [...Buffer.from(text)];
export const END = id("<|im_end|>");

const tokenBytes = (token: number) =>
  token < 256 ? Uint8Array.of(token) : Buffer.from(MARKS[token - 256] ?? "");

const tokenizer = (thinking: boolean): AnswerFlowOptions["tokenizer"] => ({
  thinking,
  findSpecial: (name) => (MARKS.includes(name) ? id(name) : undefined),
  isSpecial: (token) => token === END,
  tokenBytes,
  encodeText: bytes,
});

export const formats = new ResponseFormats({
  size: 256 + MARKS.length,
  isAdded: (token) => token >= 256,
  tokenBytes,
  endIds: new Set([END]),
});

export interface ScriptOptions extends Partial<AnswerFlowOptions> {
  readonly thinking?: boolean;
}

/** The script begins again where it ends. */
export async function writeByScript(script: readonly number[], options: ScriptOptions = {}) {
  const flow = new AnswerFlow({
    tokenizer: tokenizer(options.thinking ?? false),
    eosTokenIds: new Set([END]),
    stop: [],
    maxTokens: 500,
    maxReasoningTokens: 400,
    contextRoom: 10_000,
    ...options,
  });
  const shown = { "text-delta": "", "reasoning-delta": "" };
  const calls: string[] = [];
  /** Tokens before which a mask was asked for. */
  let masked = 0;
  const show = (parts: readonly AnswerPart[]) => {
    for (const part of parts) {
      if (part.type === "tool-call") calls.push(`${part.name}(${part.arguments})`);
      else shown[part.type] += part.text;
    }
  };
  const choose = async (written: number) => {
    await flow.prepare();
    const { mask } = flow;
    if (mask) masked++;
    const may = (token: number) => !mask || allows(mask, token);
    const all = Array.from({ length: 256 + MARKS.length }, (_, token) => token);
    const wanted = script[written % script.length]!;
    return flow.settle(may(wanted) ? wanted : all.find(may)!);
  };
  for (let written = 0; flow.finishReason === undefined; written++) {
    show(flow.take(flow.due ?? (await choose(written))));
  }
  show(flow.end());
  const { finishReason, incomplete, completionTokens } = flow;
  const [text, reasoning] = [shown["text-delta"], shown["reasoning-delta"]];
  return { text, reasoning, calls, finishReason, incomplete, completionTokens, masked };
}
