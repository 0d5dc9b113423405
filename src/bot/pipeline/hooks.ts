// What the host program may say at four points of a turn's way. In: its functions. Out: what they said, in bounded time.
// A hook that throws or hangs costs its own turn and nobody else's: what it was to check is then not sent.

import { startDeadline, untilAborted } from "../../abort.ts";
import { callback, milliseconds, object } from "../../parse-options.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { Turn } from "../chat/turn.ts";
import { HookError } from "../errors.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { ReplySegment } from "../reply/segments.ts";

type Said<T> = T | undefined | void | Promise<T | undefined> | Promise<void>;

/** Functions of the host program. What returns nothing changes nothing. */
export interface Hooks {
  /** Is this message for the bot? `true` or `false` settles it, otherwise the triggers decide. */
  readonly beforeTrigger?: (message: IncomingMessage) => Said<boolean>;
  /** Another turn in place of this one; `false`: the model is not asked, and nothing is said. */
  readonly beforeModel?: (turn: Turn) => Said<Turn | false>;
  /** Another answer in place of this one, in the history too; `false`: nothing is said. */
  readonly afterModel?: (answer: string, turn: Turn) => Said<string | false>;
  /** Another message in place of this one; `false`: it is not sent. Asked about everything the bot says. */
  readonly beforeSend?: (
    message: readonly ReplySegment[],
    chat: ChatId,
  ) => Said<readonly ReplySegment[] | false>;
  /** Milliseconds each of them may take. @default 5000 */
  readonly timeoutMs?: number;
}

const DEFAULT_TIMEOUT_MS = 5000;

/** @internal */
export const HOOKS_SCHEMA = object({
  beforeTrigger: callback().optional(),
  beforeModel: callback().optional(),
  afterModel: callback().optional(),
  beforeSend: callback().optional(),
  timeoutMs: milliseconds().optional(),
});

/** Asks the host program. */
export class HookRunner {
  readonly #hooks: Hooks;

  constructor(hooks: Hooks = {}) {
    this.#hooks = hooks;
  }

  /** Does the host program read whole answers before they are sent? */
  get editsAnswers(): boolean {
    return this.#hooks.afterModel !== undefined;
  }

  /** `undefined` at once where there is no such hook: most bots have none. */
  beforeTrigger(message: IncomingMessage): Promise<boolean | undefined> | undefined {
    const { beforeTrigger } = this.#hooks;
    if (beforeTrigger === undefined) return undefined;
    return this.#ask("beforeTrigger", () => beforeTrigger(message));
  }

  async beforeModel(turn: Turn): Promise<Turn | false> {
    const { beforeModel } = this.#hooks;
    if (beforeModel === undefined) return turn;
    return (await this.#ask("beforeModel", () => beforeModel(turn))) ?? turn;
  }

  async afterModel(answer: string, turn: Turn): Promise<string | false> {
    const { afterModel } = this.#hooks;
    if (afterModel === undefined) return answer;
    return (await this.#ask("afterModel", () => afterModel(answer, turn))) ?? answer;
  }

  async beforeSend(
    message: readonly ReplySegment[],
    chat: ChatId,
  ): Promise<readonly ReplySegment[] | false> {
    const { beforeSend } = this.#hooks;
    if (beforeSend === undefined) return message;
    return (await this.#ask("beforeSend", () => beforeSend(message, chat))) ?? message;
  }

  /** @throws {HookError} if the hook throws or takes too long. */
  async #ask<T>(name: string, hook: () => Said<T>): Promise<T | undefined> {
    const deadline = startDeadline(this.#hooks.timeoutMs ?? DEFAULT_TIMEOUT_MS);
    try {
      const said = Promise.resolve().then(hook);
      return (await untilAborted(said, deadline.signal)) ?? undefined;
    } catch (error) {
      throw new HookError(name, deadline.signal.aborted, { cause: error });
    } finally {
      deadline.end();
    }
  }
}
