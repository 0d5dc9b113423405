// Is there a person behind this message? A gate: a message in, a refusal out, or nothing. Accounts of QQ's services take
// no answer, and a card alone, such as an automatic reply, asks nothing. It knows nothing of triggers.

import type { IncomingMessage } from "../napcat/events.ts";
import type { Gate, Refusal } from "../pipeline/gate.ts";

/** Numbers QQ gives to its services and official bots, both ends included (what `get_robot_uin_range` answers). */
const SERVICE_ACCOUNTS: readonly (readonly [first: number, last: number])[] = [
  // System messages.
  [10000, 10000],
  [66600000, 66600000],
  // The group keeper (2854196310) and its relatives.
  [2854196301, 2854216399],
  [3328144510, 3328144510],
  [3889000000, 3889999999],
  [4010000000, 4019999999],
];

/** What apps and services send: the model sees nothing in it, and no person typed it. */
const CARDS: ReadonlySet<string> = new Set(["json", "xml", "ark", "lightapp", "miniapp", "share"]);

/** Refuses what nobody wrote. */
export class NobodyWrote implements Gate {
  refuse(message: IncomingMessage): Refusal | undefined {
    if (isServiceAccount(message.sender.id)) return { reason: "service-account" };
    return isCardOnly(message) ? { reason: "card-only" } : undefined;
  }
}

function isServiceAccount(userId: string): boolean {
  const number = Number(userId);
  return SERVICE_ACCOUNTS.some(([first, last]) => number >= first && number <= last);
}

/** A word beside the card, a picture, a mention or a quote: somebody wrote that. */
function isCardOnly({ segments }: IncomingMessage): boolean {
  const said = segments.filter((segment) => segment.type !== "text" || segment.text.trim() !== "");
  return (
    said.length > 0 && said.every((segment) => segment.type === "other" && CARDS.has(segment.name))
  );
}
