// Does NapCat answer, and does it accept the token?

import { askNapCat, NapCatCheckError, type NapCatProblem } from "../napcat-check.ts";
import type { CheckContext, Finding, Text } from "./finding.ts";
import { shownHost, shownQq } from "./shown.ts";

const TIMEOUT_MS = 5_000;

/** What to do about it. */
export const NAPCAT_ADVICE: Readonly<Record<NapCatProblem, Text>> = {
  unreachable: {
    zh: "NapCat 是否在运行，WebSocket 服务器是否已启用，地址和端口是否正确？",
    en: "Is NapCat running, its WebSocket server switched on, the address right?",
  },
  "wrong-token": {
    zh: "NAPCAT_TOKEN 与 NapCat 的 token 不一致",
    en: "NAPCAT_TOKEN is not NapCat's token.",
  },
  "no-answer": {
    zh: "连接后没有应答，请查看 NapCat 的日志",
    en: "It did not answer. See NapCat's log.",
  },
  "not-napcat": {
    zh: "应答不像 OneBot 11，地址是否正确？",
    en: "The answer is not OneBot 11. Is the address right?",
  },
};

export async function checkNapCat({ settings, signal }: CheckContext): Promise<Finding> {
  const what = "NapCat";
  const { napcat } = settings;
  if (napcat === undefined) {
    return {
      verdict: "warn",
      what,
      found: { zh: "未配置", en: "not configured" },
      advice: {
        zh: "只用调试页时不需要；否则 --napcat ws://127.0.0.1:3001",
        en: "Not needed for the debug page; else --napcat ws://127.0.0.1:3001.",
      },
    };
  }
  const host = shownHost(new URL(napcat.url).host);
  try {
    const timeoutMs = TIMEOUT_MS;
    const { selfId, app } = await askNapCat(napcat.url, napcat.token, { timeoutMs, signal });
    return { verdict: "ok", what, found: `${host}, ${app}, QQ ${shownQq(selfId)}` };
  } catch (error) {
    signal.throwIfAborted();
    const problem = error instanceof NapCatCheckError ? error.problem : "unreachable";
    return { verdict: "fail", what, found: `${host} (${problem})`, advice: NAPCAT_ADVICE[problem] };
  }
}
