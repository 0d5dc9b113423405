// Answers to people who are no friends of the bot: a session of QQ that is often refused. In: whom to answer and what.
// Out: NapCat's answer, or a refusal that is remembered. Nothing it sends can appear in a group: NapCat falls back to
// the group it is given when it cannot resolve the person, so it is given one only for a person it knows.

import { LRUCache } from "lru-cache";
import { isVlmBotError, OneBotCallError } from "../errors.ts";
import type { AskedGate, Refusal } from "../pipeline/gate.ts";
import type { ReplySegment } from "../reply/segments.ts";
import type { CallOptions, NapCatCalls } from "./calls.ts";
import type { IncomingMessage, ReplyTarget } from "./events.ts";
import { idOf, isRecord, wireId } from "./wire.ts";

type PrivateTarget = ReplyTarget & { readonly kind: "private" };

/** How long somebody is left alone whose session was refused: every answer costs the model as much as a good one. */
const LEFT_ALONE_MS = 10 * 60_000;
const MAX_SESSIONS = 1000;
/** OneBot's code, and NapCat's words, for an action this server does not have: it says nothing about the person. */
const UNSUPPORTED = { retcode: 1404, words: /不支持|unsupported|not support/iu };

/** What a look-up says about a person; `silent`: nothing, such as a server that does not have the action. */
type Acquaintance = "known" | "unknown" | "silent";

/** Sends to temporary sessions, and knows which of them cannot be answered. */
export class TemporarySessions implements AskedGate {
  readonly #calls: NapCatCalls;
  readonly #now: () => number;
  /** By person, until when. */
  readonly #leftAlone = new LRUCache<string, number>({ max: MAX_SESSIONS });
  /** By person, what worked last. */
  readonly #ways = new LRUCache<string, "alone" | "through-group">({ max: MAX_SESSIONS });

  /** @param now milliseconds of any clock that does not jump */
  constructor(calls: NapCatCalls, now: () => number = () => performance.now()) {
    this.#calls = calls;
    this.#now = now;
  }

  /**
   * A gate, asked before the model works: a refusal for a session that cannot be answered.
   *
   * @throws never
   */
  async refuse({ target }: IncomingMessage): Promise<Refusal | undefined> {
    if (target.kind !== "private" || target.temporary !== true) return undefined;
    const { userId } = target;
    if (this.#isLeftAlone(userId)) return { reason: "temporary-session" };
    if (this.#ways.has(userId)) return undefined;
    // Whoever NapCat cannot resolve, it cannot write to. A server that tells nothing gets the benefit of the doubt.
    if ((await this.#acquaintance(target, {})) !== "unknown") return undefined;
    this.#leaveAlone(userId);
    return { reason: "temporary-session" };
  }

  /**
   * Sends one message.
   *
   * @throws {OneBotCallError} if it was refused, or its fate is unknown.
   */
  async send(
    target: PrivateTarget,
    message: readonly ReplySegment[],
    options: CallOptions,
  ): Promise<unknown> {
    const { userId, groupId } = target;
    const params = { user_id: wireId(userId), message };
    const known = async () =>
      groupId !== undefined && (await this.#acquaintance(target, options)) === "known";
    const alone = () => this.#calls.call("send_private_msg", params, options);
    // Asked every time: a NapCat that was started again may have forgotten who this is.
    if (this.#ways.get(userId) === "through-group" && (await known())) {
      return this.#through(target, params, options);
    }
    try {
      const answer = await alone();
      this.#ways.set(userId, "alone");
      return answer;
    } catch (error) {
      if (!isRefusal(error)) throw error;
      if (await known()) return this.#through(target, params, options);
      this.#leaveAlone(userId);
      throw error;
    }
  }

  /** Names the group the person came from, which some servers need to find the session. */
  async #through(target: PrivateTarget, params: object, options: CallOptions): Promise<unknown> {
    const { userId, groupId = "" } = target;
    try {
      const named = { ...params, group_id: wireId(groupId) };
      const answer = await this.#calls.call("send_private_msg", named, options);
      this.#ways.set(userId, "through-group");
      return answer;
    } catch (error) {
      if (isRefusal(error)) this.#leaveAlone(userId);
      throw error;
    }
  }

  async #acquaintance(target: PrivateTarget, options: CallOptions): Promise<Acquaintance> {
    const { userId, groupId } = target;
    const person = { user_id: wireId(userId) };
    const found: Acquaintance[] = [];
    if (groupId !== undefined) {
      const member = { group_id: wireId(groupId), ...person };
      found.push(await this.#lookUp("get_group_member_info", member, userId, options));
      if (found[0] === "known") return "known";
    }
    found.push(await this.#lookUp("get_stranger_info", person, userId, options));
    if (found.includes("known")) return "known";
    return found.includes("silent") ? "silent" : "unknown";
  }

  async #lookUp(
    action: string,
    params: object,
    userId: string,
    options: CallOptions,
  ): Promise<Acquaintance> {
    try {
      const answer = await this.#calls.call(action, params, options);
      return isRecord(answer) && idOf(answer.user_id) === userId ? "known" : "unknown";
    } catch (error) {
      options.signal?.throwIfAborted();
      if (!isRefusal(error)) return "silent";
      const { retcode, message } = error;
      return retcode === UNSUPPORTED.retcode || UNSUPPORTED.words.test(message)
        ? "silent"
        : "unknown";
    }
  }

  #isLeftAlone(userId: string): boolean {
    const until = this.#leftAlone.get(userId);
    return until !== undefined && this.#now() < until;
  }

  #leaveAlone(userId: string): void {
    this.#ways.delete(userId);
    this.#leftAlone.set(userId, this.#now() + LEFT_ALONE_MS);
  }
}

function isRefusal(error: unknown): error is OneBotCallError {
  return isVlmBotError(error) && error instanceof OneBotCallError && error.outcome === "refused";
}
