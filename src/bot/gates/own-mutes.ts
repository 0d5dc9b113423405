// Where the bot was muted before it could hear of it: before it started, or while the connection was gone. In: questions,
// and connections that are new. Out: what QQ says, as if there had been a notice. It asks beside the turn, which goes on
// meanwhile and is ended if the answer is bad. It knows nothing of what is done about it.

import { LRUCache } from "lru-cache";
import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import type { Notice } from "../napcat/notices.ts";
import { isRecord, numberOf, type WireRecord, wireId } from "../napcat/wire.ts";

const MAX_GROUPS = 5000;
/** Nobody waits for it, but an answer as late as this says nothing about now. */
const LOOK_UP_TIMEOUT_MS = 10_000;

/** Asks QQ whether the bot may speak. */
export class OwnMutes {
  readonly #calls: NapCatCalls;
  readonly #onNotice: (notice: Notice) => void;
  readonly #now: () => number;
  /** Groups where nothing has to be asked, by what made that so: an answer counts only while nothing newer does. */
  readonly #known = new LRUCache<string, symbol>({ max: MAX_GROUPS });

  constructor(
    calls: NapCatCalls,
    onNotice: (notice: Notice) => void,
    now: () => number = Date.now,
  ) {
    this.#calls = calls;
    this.#onNotice = onNotice;
    this.#now = now;
  }

  /** Somebody asks something. The first time in a group, QQ is asked too; not before there is word of a connection. */
  look({ target, selfId }: IncomingMessage): void {
    if (!this.#isConnected) return;
    if (target.kind !== "group" || this.#known.has(target.groupId)) return;
    this.#ask(target.groupId, selfId).catch(() => {});
  }

  #isConnected = false;

  /** What a notice says is newer than whatever is being asked. */
  note(notice: Notice): void {
    if (notice.kind === "online" || notice.kind === "connected") this.#isConnected = true;
    if (notice.kind === "mute" || notice.kind === "unmute") {
      this.#known.set(notice.groupId, Symbol(notice.kind));
    }
  }

  /** Notices may have been missed: every group is asked about once more, those where the bot is silent at once. */
  connected(selfId: string, closedGroups: readonly string[]): void {
    this.#known.clear();
    for (const groupId of closedGroups) this.#ask(groupId, selfId).catch(() => {});
  }

  async #ask(groupId: string, selfId: string): Promise<void> {
    const asking = Symbol("asked");
    this.#known.set(groupId, asking);
    const group = wireId(groupId);
    const [member, whole] = await Promise.all([
      // A kept answer would be that of a moment when the bot was, or was not yet, muted.
      this.#call("get_group_member_info", {
        group_id: group,
        user_id: wireId(selfId),
        no_cache: true,
      }),
      this.#call("get_group_info", { group_id: group, no_cache: true }),
    ]);
    if (this.#known.get(groupId) !== asking) return;
    const until = numberOf(member.shut_up_timestamp);
    if (until !== undefined) {
      const durationMs = until * 1000 - this.#now();
      const who = { userId: selfId, isBot: true };
      this.#onNotice(
        durationMs > 0
          ? { kind: "mute", groupId, who, durationMs }
          : { kind: "unmute", groupId, who },
      );
    }
    const all = numberOf(whole.group_all_shut);
    if (all === undefined) return;
    // Whoever runs a group may speak in it all the same.
    const isQuiet = all !== 0 && member.role !== "owner" && member.role !== "admin";
    this.#onNotice(
      isQuiet
        ? { kind: "mute", groupId, who: "everybody", durationMs: Number.POSITIVE_INFINITY }
        : { kind: "unmute", groupId, who: "everybody" },
    );
  }

  async #call(action: string, params: object): Promise<WireRecord> {
    const answer = await this.#calls
      .call(action, params, { timeoutMs: LOOK_UP_TIMEOUT_MS })
      .catch(() => undefined);
    return isRecord(answer) ? answer : {};
  }
}
