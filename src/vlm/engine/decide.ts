// Decisions from scores: a prompt for each question, read once, and the answers it could have compared behind it.
// In: questions. Out: decisions with probabilities. How a question is worded is in text/decide-question.ts.
//
// A text t of the tokens t1 … tn, the end of the answer among them, has the log-probability l = log p(t1) + … + log p(tn),
// each under everything in front of it. Of options, p = exp(l / n) divided by the same summed over all options; of
// numbers, p = exp(l) divided by the sum. Of a box, p is the product of its tokens' shares among those of the form.

import type { Deadline } from "../../abort.ts";
import { BOX_HEAD, BOX_PATTERN, boxOf } from "../box-answer.ts";
import { regexRule } from "../constrain/response-format.ts";
import type { ResolvedDecide } from "../decide-options.ts";
import { decisionOf } from "../decision.ts";
import { askedMessages, possibleAnswers } from "../text/decide-question.ts";
import type { DecideQuestion, Decision } from "../vision-language-model.ts";
import { BranchScores } from "./branch-scores.ts";
import { FormedReader } from "./formed-reader.ts";
import { type ModelParts, readRequest, withoutThought } from "./generate.ts";
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
  if (question.type === "box") return decideBox(model, request, question, stop);
  const end = tokenizer.findSpecial("<|im_end|>") ?? [...eosTokenIds][0]!;
  const texts = possibleAnswers(question).map((text) => [...tokenizer.encodeText(text), end]);
  const reader = new BranchScores({
    texts,
    vocabSize: vocabSize(model),
    leastShare: question.type === "number" ? LEAST_SHARE : 0,
  });
  await read(model, request, question, reader, [], stop);
  const scores = reader.logProbabilities.map((logprob, index) => ({
    logprob,
    tokens: texts[index]!.length,
  }));
  return decisionOf(question, scores);
}

/** Its four numbers, written after what a box begins with. */
async function decideBox(
  model: ModelParts,
  request: ResolvedDecide,
  question: DecideQuestion,
  stop: Deadline,
): Promise<Decision> {
  const { tokenizer } = model;
  const { formats } = model;
  const constraint = await formats.constraintOf("box", () => regexRule(BOX_PATTERN), stop.signal);
  const reader = new FormedReader(constraint, (id) => tokenizer.tokenBytes(id));
  await read(model, request, question, reader, tokenizer.encodeText(BOX_HEAD), stop);
  return { type: "box", box: boxOf(reader.text), probability: reader.probability };
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
    maxReasoningTokens: 0,
  };
  const whole = question.type === "box";
  const prompted = withoutThought(model, asked);
  const { prompt, placed } = await readRequest(model, prompted, watch, stop.signal, whole);
  const sequence = new Sequence({
    ids: Int32Array.from([...prompt.ids, ...head]),
    pictures: placed,
    reader,
    chat: request.chat,
    priority: request.priority,
    signal: stop.signal,
    watch,
  });
  await model.engine.run(sequence);
}

function vocabSize({ tokenizer, config }: ModelParts): number {
  return Math.min(tokenizer.size, config.text.vocabSize);
}
