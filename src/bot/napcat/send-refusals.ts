// What a refused message tells about the account or the group. In: the error of a call that sent something.
// Out: the notice NapCat should have sent, or nothing. NapCat has one code for everything: only the text tells.

import { OneBotCallError } from "../errors.ts";
import type { ReplyTarget } from "./events.ts";
import type { Notice } from "./notices.ts";

/** QQ does not say how long a mute lasts that was not announced; it is tried again after this long. */
const UNKNOWN_MUTE_MS = 600_000;

export function noticeOfRefusal(
  error: unknown,
  target: ReplyTarget,
  selfId: string,
): Notice | undefined {
  if (!(error instanceof OneBotCallError) || error.outcome !== "refused") return undefined;
  const { message } = error;
  if (/"result":\s*1006514\b/u.test(message)) return { kind: "offline" };
  if (target.kind !== "group") return undefined;
  const { groupId } = target;
  const who = { userId: selfId, isBot: true };
  if (/"result":\s*110\b|移出该群/u.test(message)) return { kind: "left", groupId, who };
  if (/"result":\s*120\b|禁言/u.test(message)) {
    return { kind: "mute", groupId, who, durationMs: UNKNOWN_MUTE_MS };
  }
  return undefined;
}
