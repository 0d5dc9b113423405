// What the model thinks of answering a message, from as little of it as possible: the scores of yes and no where it has
// them, else one word. In: a message of a chat. Out: a probability. Each chat may ask so often in a minute; it knows
// nothing of what is made of the answer.

import { LRUCache } from "lru-cache";
import { isVlmError, type VisionLanguageModel } from "../../vlm/index.ts";
import { chatKey } from "../chat/chat-id.ts";
import { cleanName } from "../chat/speaker-name.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Phrases } from "../reply/phrases.ts";
import { typedText } from "./trigger.ts";

const MINUTE_MS = 60_000;
const MAX_CHATS = 1000;
/** Enough to tell whom somebody talks to. */
const MAX_CHARACTERS = 500;
/** A guess that comes later than this helps nobody. */
const TIMEOUT_MS = 15_000;
/** Everything else the model may be doing is more urgent. */
const PRIORITY = -50;
/** Failures to decide that say nothing against asking for a word: there were no scores to be seen, or of other things. */
const NO_SCORES: readonly string[] = ["remote-no-logprobs", "remote-undecided"];
const YES = /^\s*["“「]?(是|对|要|需要|(yes|y|true)\b)/iu;

/** Asks the model about messages. */
export class AskModel {
  readonly #model: VisionLanguageModel;
  readonly #phrases: Phrases;
  readonly #now: () => number;
  readonly #askedAt = new LRUCache<string, readonly number[]>({ max: MAX_CHATS });

  constructor(model: VisionLanguageModel, phrases: Phrases, now: () => number = Date.now) {
    this.#model = model;
    this.#phrases = phrases;
    this.#now = now;
  }

  /** Never rejects: whatever goes wrong, nobody asked the bot anything yet. */
  async wantsAnswer(message: IncomingMessage, perMinute: number): Promise<number> {
    if (!this.#take(chatKey(message.chat), perMinute)) return 0;
    const name = cleanName(message.sender.name, this.#phrases.namelessSpeaker(message.sender.id));
    const text = [...typedText(message)].slice(0, MAX_CHARACTERS).join("");
    try {
      return await this.#probability(this.#phrases.decideQuestion(name, text));
    } catch {
      return 0;
    }
  }

  async #probability(question: string): Promise<number> {
    const system = { role: "system", content: this.#phrases.decideSystem } as const;
    const common = { priority: PRIORITY, signal: AbortSignal.timeout(TIMEOUT_MS) };
    if (this.#model.decide) {
      const questions = [{ type: "yes-no", question }] as const;
      try {
        const asked = { ...common, messages: [system], questions };
        return (await this.#model.decide(asked)).decisions[0].probability;
      } catch (error) {
        if (!isVlmError(error) || !NO_SCORES.includes(error.code)) throw error;
      }
    }
    const { text: said } = await this.#model.generate({
      ...common,
      messages: [system, { role: "user", content: question }],
      maxTokens: 1,
      temperature: 0,
      maxReasoningTokens: 0,
    });
    return YES.test(said) ? 1 : 0;
  }

  #take(key: string, perMinute: number): boolean {
    const now = this.#now();
    const recent = (this.#askedAt.get(key) ?? []).filter((at) => Math.abs(now - at) < MINUTE_MS);
    if (recent.length >= perMinute) return false;
    this.#askedAt.set(key, [...recent, now]);
    return true;
  }
}
