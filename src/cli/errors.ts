// An error as what a terminal shows. In: anything that ended a command. Out: one line for what was foreseen, else the
// stack: then it is a bug, and somebody has to find it.

import { describeError, isVlmBotError } from "../bot/errors.ts";
import { isVlmError } from "../vlm/index.ts";
import { NativeLibraryError } from "../vlm/native/native-library-error.ts";

/** Where the debug page cannot be opened, by the system's code: what is wrong, in both languages, and what to do. */
const PORT_TROUBLE: Readonly<Record<string, readonly [zh: string, en: string, advice: string]>> = {
  EADDRINUSE: ["端口已被占用", "the port is taken", "换一个 · try --port 0."],
  EACCES: [
    "没有权限使用这个端口",
    "this port may not be used",
    "1024 以上的不需要权限 · those from 1024 on need no permission: --port 9999.",
  ],
  EADDRNOTAVAIL: [
    "这台机器没有这个地址",
    "this machine has no such address",
    "本机用 127.0.0.1，所有网卡用 0.0.0.0 · --host 127.0.0.1 for this machine alone, 0.0.0.0 for all its networks.",
  ],
  ENOTFOUND: [
    "找不到这个主机名",
    "no such host name",
    "本机用 127.0.0.1，所有网卡用 0.0.0.0 · --host 127.0.0.1 for this machine alone, 0.0.0.0 for all its networks.",
  ],
};

export function describeFailure(error: unknown): string {
  if (error instanceof NativeLibraryError) {
    const { zh } = error.diagnosis;
    return `${zh.sentence}${zh.remedy} · ${error.message}`;
  }
  if (isVlmError(error) || isVlmBotError(error)) return error.message;
  if (!(error instanceof Error)) return String(error);
  const { code } = error as NodeJS.ErrnoException;
  const ofPort = code === undefined ? undefined : PORT_TROUBLE[code];
  if (ofPort !== undefined && /^listen |^getaddrinfo /.test(error.message)) {
    return `${ofPort[0]} · ${ofPort[1]}: ${error.message}. ${ofPort[2]}`;
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
