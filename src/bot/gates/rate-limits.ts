// How much may be asked: by one person, in one group, and by all together. In: a message that is for the bot.
// Out: a refusal, with a notice once in a while. The people who run the bot are not counted.

import { LRUCache } from "lru-cache";
import type { IncomingMessage } from "../napcat/events.ts";
import type { AskedGate, Refusal } from "../pipeline/gate.ts";
import type { NoticeLimiter } from "../reply/notice-limiter.ts";
import type { PeoplePhrases } from "../reply/phrases.ts";
import { TokenBucket } from "./token-bucket.ts";

/** So many at once, and as many again in every minute; 0: as many as they like. */
export interface RateLimitOptions {
  readonly personPerMinute: number;
  readonly groupPerMinute: number;
  readonly totalPerMinute: number;
  /** Commands of one person. */
  readonly commandsPerMinute: number;
}

/** Buckets remembered; one that is forgotten is full again. */
const MAX_BUCKETS = 10_000;

export interface RateLimitParts {
  readonly limits: RateLimitOptions;
  readonly admins: readonly string[];
  readonly phrases: PeoplePhrases;
  /** Shared with whoever else tells a chat that it is too much. */
  readonly notices: NoticeLimiter;
  /** @default performance.now */
  readonly now?: () => number;
}

/** Counts questions and commands. */
export class RateLimits implements AskedGate {
  readonly #parts: RateLimitParts;
  readonly #now: () => number;
  readonly #buckets = new LRUCache<string, TokenBucket>({ max: MAX_BUCKETS });

  constructor(parts: RateLimitParts) {
    this.#parts = parts;
    this.#now = parts.now ?? (() => performance.now());
  }

  /** Counts a question, unless it is refused. */
  refuse({ chat, sender }: IncomingMessage): Refusal | undefined {
    const { limits, admins, phrases, notices } = this.#parts;
    if (admins.includes(sender.id)) return undefined;
    const buckets: [reason: string, key: string, perMinute: number][] = [
      ["person-limit", `person/${sender.id}`, limits.personPerMinute],
      ["total-limit", "total", limits.totalPerMinute],
    ];
    if (chat.kind === "group") {
      buckets.push(["group-limit", `group/${chat.id}`, limits.groupPerMinute]);
    }
    const counted = buckets.filter(([, , perMinute]) => perMinute > 0);
    const empty = counted.find(
      ([, key, perMinute]) => !this.#bucket(key, perMinute).has(this.#now()),
    );
    if (empty === undefined) {
      for (const [, key, perMinute] of counted) this.#bucket(key, perMinute).take();
      return undefined;
    }
    const [reason] = empty;
    if (!notices.take(chat)) return { reason };
    return { reason, notice: reason === "person-limit" ? phrases.tooOften : phrases.busy };
  }

  /** Counts a command; `false` if this person has typed too many of them. */
  takeCommand({ sender }: IncomingMessage): boolean {
    const { limits, admins } = this.#parts;
    if (limits.commandsPerMinute === 0 || admins.includes(sender.id)) return true;
    const bucket = this.#bucket(`command/${sender.id}`, limits.commandsPerMinute);
    if (!bucket.has(this.#now())) return false;
    bucket.take();
    return true;
  }

  #bucket(key: string, perMinute: number): TokenBucket {
    const known = this.#buckets.get(key);
    if (known?.perMinute === perMinute) return known;
    const bucket = new TokenBucket(perMinute, this.#now());
    this.#buckets.set(key, bucket);
    return bucket;
  }
}
