// Where the bot may speak right now: nobody computes an answer that cannot be sent. In: what happened in QQ.
// Out: whether a chat is closed to the bot. It knows nothing of turns that are running.

import { LRUCache } from "lru-cache";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";

/** NapCat says with every heartbeat that the account is offline; silence for longer than this is no such news. */
const OFFLINE_MS = 120_000;
/** A group that said the bot is no member is tried again after this long, should that have been a mistake. */
const LEFT_MS = 600_000;
const MAX_GROUPS = 5000;

/** What is known of a group, each until a time in milliseconds since 1970; 0 for not at all. */
interface GroupStanding {
  readonly mutedUntil: number;
  readonly quietUntil: number;
  readonly leftUntil: number;
}

const OPEN: GroupStanding = { mutedUntil: 0, quietUntil: 0, leftUntil: 0 };

/** Remembers mutes, kicks and logouts. */
export class Standing implements Gate {
  readonly #now: () => number;
  readonly #groups = new LRUCache<string, GroupStanding>({ max: MAX_GROUPS });
  #offlineUntil = 0;

  constructor(now: () => number = Date.now) {
    this.#now = now;
  }

  refuse({ chat }: IncomingMessage): Refusal | undefined {
    const now = this.#now();
    if (this.#offlineUntil > now) return { reason: "offline" };
    const group = chat.kind === "group" ? this.#groups.get(chat.id) : undefined;
    if (group === undefined) return undefined;
    if (group.mutedUntil > now || group.quietUntil > now) return { reason: "muted" };
    return group.leftUntil > now ? { reason: "kicked" } : undefined;
  }

  /** Something happened in QQ. */
  note(notice: Notice): void {
    switch (notice.kind) {
      case "offline":
        this.#offlineUntil = this.#now() + OFFLINE_MS;
        return;
      case "online":
        this.#offlineUntil = 0;
        return;
      case "mute":
      case "unmute": {
        const until = notice.kind === "mute" ? this.#now() + notice.durationMs : 0;
        if (notice.who === "everybody") this.#change(notice.groupId, { quietUntil: until });
        else if (notice.who.isBot) this.#change(notice.groupId, { mutedUntil: until });
        return;
      }
      case "left":
        if (notice.who.isBot) {
          this.#change(notice.groupId, { ...OPEN, leftUntil: this.#now() + LEFT_MS });
        }
        return;
      case "joined":
        if (notice.who.isBot) this.#groups.delete(notice.groupId);
        return;
      case "connected":
      case "recall":
      case "poke":
      case "typing":
        return;
      default:
        notice satisfies never;
    }
  }

  /** Groups in which the bot may not speak, as far as it knows. */
  get mutedGroups(): readonly string[] {
    const now = this.#now();
    return [...this.#groups.entries()]
      .filter(([, { mutedUntil, quietUntil }]) => mutedUntil > now || quietUntil > now)
      .map(([groupId]) => groupId);
  }

  #change(groupId: string, change: Partial<GroupStanding>): void {
    this.#groups.set(groupId, { ...(this.#groups.get(groupId) ?? OPEN), ...change });
  }
}
