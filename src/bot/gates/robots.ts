// Is whoever asks one of QQ's bots? In: a message in a group. Out: a refusal for bots. It asks QQ once for each person,
// and lets them in where no answer comes quickly: the answer then counts from the next question on.

import { LRUCache } from "lru-cache";
import { settledWithin } from "../../abort.ts";
import { OneBotCallError } from "../errors.ts";
import type { NapCatCalls } from "../napcat/calls.ts";
import type { IncomingMessage } from "../napcat/events.ts";
import { isRecord, wireId } from "../napcat/wire.ts";
import type { AskedGate, Refusal } from "../pipeline/gate.ts";

const MAX_PEOPLE = 5000;
const REMEMBERED_MS = 24 * 3600_000;
/** After this long nobody waits for the answer any more. */
const PATIENCE_MS = 500;
const UNSUPPORTED_RETCODE = 1404;

/** Refuses bots. */
export class Robots implements AskedGate {
  readonly #calls: NapCatCalls;
  readonly #people = new LRUCache<string, Promise<boolean>>({
    max: MAX_PEOPLE,
    ttl: REMEMBERED_MS,
  });
  #unsupported = false;

  constructor(calls: NapCatCalls) {
    this.#calls = calls;
  }

  /** Never rejects. */
  async refuse({ target, sender }: IncomingMessage): Promise<Refusal | undefined> {
    if (target.kind !== "group" || this.#unsupported) return undefined;
    const known = this.#people.get(sender.id) ?? this.#ask(target.groupId, sender.id);
    this.#people.set(sender.id, known, { noUpdateTTL: true });
    const isRobot = await settledWithin(known, PATIENCE_MS);
    return isRobot ? { reason: "robot" } : undefined;
  }

  async #ask(groupId: string, userId: string): Promise<boolean> {
    try {
      const params = { group_id: wireId(groupId), user_id: wireId(userId), no_cache: false };
      const member = await this.#calls.call("get_group_member_info", params);
      return isRecord(member) && member.is_robot === true;
    } catch (error) {
      if (error instanceof OneBotCallError && error.retcode === UNSUPPORTED_RETCODE) {
        this.#unsupported = true;
      }
      return false;
    }
  }
}
