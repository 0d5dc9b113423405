// What a person is told when something went wrong: an error in, one of the phrases out, or nothing.
// It never shows the error itself: its text is for logs.

import { isTimeoutError } from "../../abort.ts";
import { isVlmError } from "../../vlm/index.ts";
import { HookError, isVlmBotError, TurnCancelledError } from "../errors.ts";
import type { PeoplePhrases } from "./phrases.ts";

/** The sentence for an error, or `undefined` when silence is the right answer. */
export function phraseForError(error: unknown, phrases: PeoplePhrases): string | undefined {
  if (isTimeoutError(error)) return phrases.timedOut;
  if (error instanceof TurnCancelledError) {
    return error.reason === "deadline" ? phrases.timedOut : undefined;
  }
  if (isVlmError(error)) {
    switch (error.code) {
      case "queue-full":
      case "device-lost": // It comes back by itself.
      case "remote-busy":
        return phrases.busy;
      case "prompt-too-long":
        return phrases.tooLong;
      case "image-unsupported":
      case "image-corrupt":
      case "image-too-large":
        return phrases.imageUnreadable;
      case "remote-timed-out":
        return phrases.timedOut;
      case "disposed":
        return undefined;
      default:
        return phrases.failed;
    }
  }
  if (error instanceof HookError) return phrases.failed;
  if (isVlmBotError(error)) {
    // Where a call to NapCat failed, one more message would fail as well.
    return error.name === "ImageFetchError" ? phrases.imageFetchFailed : undefined;
  }
  return phrases.failed;
}
