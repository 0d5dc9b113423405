// decide, where a server elsewhere computes: which tokens are likeliest, asked one at a time. In: questions. Out: decisions
// as in this process, as far as the server shows what they are made of. How it is asked, its owner knows.
//
// Probabilities are those of engine/decide.ts. Servers show the likeliest tokens of one place only, so a text is walked
// along: by letting the server go on from the beginning of an answer. One that cannot is asked for the first token alone:
// whatever follows it, the end included, then counts as certain.

import { BOX_HEAD, BOX_PATTERN, beginsBox, boxOf, findBox } from "../box-answer.ts";
import type { ResolvedDecide } from "../decide-options.ts";
import { decisionOf, type ListedQuestion } from "../decision.ts";
import { isVlmError, RemoteError } from "../errors.ts";
import { MOST_LOGPROBS } from "../request-options.ts";
import { askedMessages, possibleAnswers } from "../text/decide-question.ts";
import type {
  ChatMessage,
  ChosenToken,
  DecideQuestion,
  Decision,
  GenerateRequest,
  GenerateResult,
  TokenScore,
} from "../vision-language-model.ts";
import { NoScores, optionScores } from "./option-scores.ts";

export interface ServedDecisionsOptions {
  readonly generate: (request: GenerateRequest) => Promise<GenerateResult>;
  /** Host and port, for errors. */
  readonly host: string;
  readonly thinking: boolean;
}

/** Tokens of an answer with a box. */
const BOX_TOKENS = 64;
/** Beginnings of numbers with less of the probability of all are not asked for. */
const LEAST_SHARE = 0.01;
/** More tokens than the beginning has: a thought that a template closes, behind what opens one. */
const CLOSED_THOUGHT_TOKENS = 3;
/** An answer that ended at once, from a server that shows no token for that. */
const ENDED: readonly TokenScore[] = [{ text: "", bytes: new Uint8Array(), logprob: 0, end: true }];

/** Remembers of one server what it cannot. */
export class ServedDecisions {
  readonly #options: ServedDecisionsOptions;
  #showsNone = false;
  #goesOn = true;

  constructor(options: ServedDecisionsOptions) {
    this.#options = options;
  }

  /**
   * The first question alone: the server keeps what it has in common with the others.
   *
   * @throws {RemoteError} `remote-no-logprobs` where the server shows no probabilities, `remote-undecided` where they are
   *   of other things than the options
   */
  async decide(request: ResolvedDecide, signal?: AbortSignal): Promise<readonly Decision[]> {
    const [first, ...others] = request.questions;
    const ask = (question: DecideQuestion) => {
      const messages = askedMessages(request.messages, question);
      return question.type === "box"
        ? this.#box(messages, signal)
        : this.#listed(question, messages, signal);
    };
    return [await ask(first!), ...(await Promise.all(others.map(ask)))];
  }

  async #listed(
    question: ListedQuestion,
    messages: readonly ChatMessage[],
    signal: AbortSignal | undefined,
  ): Promise<Decision> {
    let promptTokens = 0;
    const ask = async (beginning: string, tokens: number) => {
      if (beginning !== "") {
        return this.#goesOn
          ? this.#likeliestBehind(messages, beginning, promptTokens + tokens, signal)
          : undefined;
      }
      const result = await this.#generate({ messages, signal });
      promptTokens = result.usage.promptTokens;
      return likeliest(this.#logprobs(result));
    };
    try {
      const leastShare = question.type === "number" ? LEAST_SHARE : 0;
      return decisionOf(
        question,
        await optionScores({ texts: possibleAnswers(question), ask, leastShare }),
      );
    } catch (error) {
      throw error instanceof NoScores ? this.#undecided(error.message) : error;
    }
  }

  /** @returns undefined where the server began anew instead: then it has read more than the beginning */
  async #likeliestBehind(
    messages: readonly ChatMessage[],
    beginning: string,
    expectedTokens: number,
    signal: AbortSignal | undefined,
  ): Promise<readonly TokenScore[] | undefined> {
    try {
      const result = await this.#generate({ messages, beginning, signal });
      const { promptTokens } = result.usage;
      const most = expectedTokens + (this.#options.thinking ? CLOSED_THOUGHT_TOKENS : 0);
      if (promptTokens > 0 && promptTokens <= most) return likeliest(this.#logprobs(result));
    } catch (error) {
      if (!isRefusal(error)) throw error;
    }
    this.#goesOn = false;
    return undefined;
  }

  /** Its numbers, written behind what a box begins with; or found in what the server wrote instead. */
  async #box(messages: readonly ChatMessage[], signal: AbortSignal | undefined): Promise<Decision> {
    const maxTokens = BOX_TOKENS;
    const responseFormat = { type: "regex", pattern: BOX_PATTERN } as const;
    const result = await this.#generate({
      messages,
      beginning: BOX_HEAD,
      maxTokens,
      responseFormat,
      signal,
    }).catch((error: unknown) => {
      if (!isRefusal(error)) throw error;
      return this.#generate({ messages, maxTokens, signal });
    });
    const tokens = this.#logprobs(result);
    const text = Buffer.concat(tokens.map(({ bytes }) => bytes)).toString("utf8");
    const found = findBox(text);
    if (!found) throw this.#undecided("It wrote no box.");
    const box = boxOf(text.slice(found.start, found.end));
    return { type: "box", box, probability: boxProbability(tokens, found) };
  }

  #generate({
    messages,
    beginning = "",
    maxTokens = 1,
    ...request
  }: Pick<GenerateRequest, "messages" | "responseFormat"> & {
    readonly beginning?: string;
    readonly maxTokens?: number;
    readonly signal: AbortSignal | undefined;
  }): Promise<GenerateResult> {
    if (this.#showsNone) throw this.#noLogprobs();
    const begun: readonly ChatMessage[] =
      beginning === "" ? [] : [{ role: "assistant", content: beginning }];
    const { responseFormat, signal } = request;
    return this.#options.generate({
      messages: [...messages, ...begun],
      continueAnswer: beginning !== "",
      maxTokens,
      maxReasoningTokens: 0,
      temperature: 0,
      topLogprobs: MOST_LOGPROBS,
      ...(responseFormat ? { responseFormat } : {}),
      ...(signal ? { signal } : {}),
    });
  }

  #logprobs({ logprobs }: GenerateResult): readonly ChosenToken[] {
    if (logprobs?.every(({ likeliest: others }) => others.length > 0)) return logprobs;
    this.#showsNone = true;
    throw this.#noLogprobs();
  }

  #noLogprobs(): RemoteError {
    const { host } = this.#options;
    const message = `${host} shows no probabilities (\`top_logprobs\`), so it cannot decide. Ask it for words, or another server.`;
    return new RemoteError("remote-no-logprobs", message, { host });
  }

  #undecided(why: string): RemoteError {
    const { host } = this.#options;
    const message = `${host} could not decide. ${why} Other words for the options may help; a model that thinks aloud first cannot be asked so.`;
    return new RemoteError("remote-undecided", message, { host });
  }
}

function likeliest(tokens: readonly ChosenToken[]): readonly TokenScore[] {
  return tokens[0]?.likeliest ?? ENDED;
}

/** The request was not to the server's liking: another one may be. */
function isRefusal(error: unknown): boolean {
  return isVlmError(error) && error.code === "remote-refused";
}

/** Of each token of the coordinates, its share among those that could stand there, as far as the server shows them. */
function boxProbability(
  tokens: readonly ChosenToken[],
  { start, end }: { readonly start: number; readonly end: number },
): number {
  let text = "";
  let probability = 1;
  for (const token of tokens) {
    const before = text.length;
    text += Buffer.from(token.bytes).toString("utf8");
    if (text.length <= start || before >= end) continue;
    const beginning = before < start ? "" : text.slice(start, before);
    const possible = token.likeliest.filter(
      ({ bytes }) => bytes.length > 0 && beginsBox(beginning + Buffer.from(bytes).toString("utf8")),
    );
    const sum = possible.reduce((total, { logprob }) => total + Math.exp(logprob), 0);
    const seen = possible.some(({ text: other }) => other === token.text);
    probability *= Math.exp(token.logprob) / (seen ? sum : 1);
  }
  return probability;
}
