// An error as what a terminal shows. In: anything that ended a command. Out: one line for what was foreseen, else the
// stack: then it is a bug, and somebody has to find it.

import { describeError, isVlmBotError } from "../bot/errors.ts";
import { isVlmError } from "../vlm/index.ts";
import { NativeLibraryError } from "../vlm/native/native-library-error.ts";

export function describeFailure(error: unknown): string {
  if (error instanceof NativeLibraryError) {
    const { zh } = error.diagnosis;
    return `${zh.sentence}${zh.remedy} · ${error.message}`;
  }
  if (isVlmError(error) || isVlmBotError(error)) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  if (code === "EADDRINUSE") {
    return `端口已被占用 · the port is taken: ${error.message}. 换一个 · try --port 0.`;
  }
  if (code !== undefined || isBadOption(error)) return error.message;
  return error.stack ?? error.message;
}

/** For a log that goes on: no message of an error that nobody foresaw, since it may quote what people wrote. */
export function describeForLog(error: unknown): string {
  const line = `napcat-vlm: ${describeError(error)}`;
  if (isVlmError(error) || isVlmBotError(error) || !(error instanceof Error)) return line;
  const places = (error.stack ?? "").split("\n").filter((place) => /^\s+at /.test(place));
  return [line, ...places].join("\n");
}

/** A value that came from the command line and that only its user could check. */
function isBadOption(error: Error): boolean {
  const isRefusal = error instanceof TypeError || error instanceof RangeError;
  return isRefusal && error.message.startsWith("Expected `");
}
