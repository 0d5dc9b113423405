// Decisions from scores: a prompt for each question, read once, and the answers it could have compared behind it.
// In: questions. Out: decisions with probabilities. How a question is worded is in text/decide-question.ts.
//
// A text t of the tokens t1 … tn, the end of the answer among them, has the log-probability l = log p(t1) + … + log p(tn),
// each under everything in front of it. Of options, p = exp(l / n) divided by the same summed over all options; of
// numbers, p = exp(l) divided by the sum. Of a box, p is the product of its tokens' shares among those of the form.

import type { Deadline } from "../../abort.ts";
import { regexRule } from "../constrain/response-format.ts";
import type { ResolvedDecide } from "../decide-options.ts";
import {
  askedMessages,
  BOX_HEAD,
  BOX_PATTERN,
  BOX_SCALE,
  possibleAnswers,
} from "../text/decide-question.ts";
import { closedThought } from "../text/thought-budget.ts";
import type { DecideQuestion, Decision } from "../vision-language-model.ts";
import { BranchScores } from "./branch-scores.ts";
import { FormedReader } from "./formed-reader.ts";
import { type ModelParts, readRequest } from "./generate.ts";
import { Sequence, type TokenReader } from "./sequence.ts";
import { Stopwatch } from "./stopwatch.ts";

/** Tokens that the longest answer may take. */
const ANSWER_TOKENS = 64;
/** Beginnings of numbers with less of the probability of all are not looked into. */
const LEAST_SHARE = 1e-4;

/**
 * Decides one question after the other; the first one reads what they have in common.
 *
 * @throws as `generate` does
 */
export async function decide(
  model: ModelParts,
  request: ResolvedDecide,
  stop: Deadline,
): Promise<readonly Decision[]> {
  model.engine.expectRoom();
  const [first, ...others] = request.questions;
  const ask = (question: DecideQuestion) => decideOne(model, request, question, stop);
  return [await ask(first!), ...(await Promise.all(others.map(ask)))];
}

async function decideOne(
  model: ModelParts,
  request: ResolvedDecide,
  question: DecideQuestion,
  stop: Deadline,
): Promise<Decision> {
  const { tokenizer, eosTokenIds } = model;
  const answers = possibleAnswers(question);
  if (!answers) return decideBox(model, request, question, stop);
  const end = tokenizer.findSpecial("<|im_end|>") ?? [...eosTokenIds][0]!;
  const texts = answers.texts.map((text) => [...tokenizer.encodeText(text), end]);
  const reader = new BranchScores({
    texts,
    vocabSize: vocabSize(model),
    leastShare: question.type === "number" ? LEAST_SHARE : 0,
  });
  await read(model, request, question, reader, [], stop);
  const scores = reader.logProbabilities.map((score, index) =>
    answers.lengthNormalised ? score / texts[index]!.length : score,
  );
  return decision(question, softmax(scores));
}

/** Its four numbers, written after what a box begins with. */
async function decideBox(
  model: ModelParts,
  request: ResolvedDecide,
  question: DecideQuestion,
  stop: Deadline,
): Promise<Decision> {
  const { tokenizer } = model;
  const constraint = await model.formats.constraintOf("box", () => regexRule(BOX_PATTERN));
  const reader = new FormedReader(constraint, (id) => tokenizer.tokenBytes(id));
  await read(model, request, question, reader, tokenizer.encodeText(BOX_HEAD), stop);
  const [x1 = 0, y1 = 0, x2 = 0, y2 = 0] = reader.text
    .match(/\d+/gu)!
    .map((number) => Number(number) / BOX_SCALE);
  const box = {
    left: Math.min(x1, x2),
    top: Math.min(y1, y2),
    right: Math.max(x1, x2),
    bottom: Math.max(y1, y2),
  };
  return { type: "box", box, probability: reader.probability };
}

/** Runs a reader behind the prompt of a question. @param head tokens that the answer begins with */
async function read(
  model: ModelParts,
  request: ResolvedDecide,
  question: DecideQuestion,
  reader: TokenReader,
  head: readonly number[],
  stop: Deadline,
): Promise<void> {
  const watch = new Stopwatch();
  const asked = {
    messages: askedMessages(request.messages, question),
    tools: [],
    maxTokens: ANSWER_TOKENS,
    chat: request.chat,
  };
  const whole = question.type === "box";
  const { prompt, placed } = await readRequest(model, asked, watch, stop.signal, whole);
  const thought = model.tokenizer.thinking ? closedThought(model.tokenizer) : [];
  const sequence = new Sequence({
    ids: Int32Array.from([...prompt.ids, ...thought, ...head]),
    pictures: placed,
    reader,
    chat: request.chat,
    priority: request.priority,
    signal: stop.signal,
    watch,
  });
  await model.engine.run(sequence);
}

function decision(question: DecideQuestion, probabilities: readonly number[]): Decision {
  const best = probabilities.indexOf(Math.max(...probabilities));
  const probability = probabilities[best]!;
  switch (question.type) {
    case "yes-no":
      return { type: "yes-no", yes: best === 0, probability: probabilities[0]! };
    case "choice":
      return { type: "choice", option: question.options[best]!, probability, probabilities };
    case "number": {
      const { min } = question;
      const expected = probabilities.reduce((sum, p, index) => sum + p * (min + index), 0);
      return { type: "number", value: min + best, probability, expected };
    }
    case "box":
      throw new TypeError("A box is not chosen from a list");
  }
}

/** All but impossible ones add up to 1. */
function softmax(scores: readonly number[]): number[] {
  const highest = scores.reduce((a, b) => Math.max(a, b), Number.NEGATIVE_INFINITY);
  const weights = scores.map((score) => Math.exp(score - highest));
  const sum = weights.reduce((a, b) => a + b, 0);
  return weights.map((weight) => weight / sum);
}

function vocabSize({ tokenizer, config }: ModelParts): number {
  return Math.min(tokenizer.size, config.text.vocabSize);
}
