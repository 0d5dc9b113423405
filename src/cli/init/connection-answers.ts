// Address and token of NapCat, asked for until the connection works or the person wants to go on without. In: questions
// and what is known already. Out: the connection, and the groups the account is in. The token is never shown.

import { CONNECT_SCHEMA } from "../../bot/napcat/connect-options.ts";
import { findMistakes } from "../../parse-options.ts";
import { NAPCAT_ADVICE } from "../doctor/check-napcat.ts";
import type { Language } from "../language.ts";
import { askNapCat, type KnownGroup, NapCatCheckError } from "../napcat-check.ts";
import type { Questions } from "./questions.ts";

const TIMEOUT_MS = 5_000;

export interface ConnectionAnswers {
  readonly url: string;
  readonly token: string;
  /** Empty where it could not be asked. */
  readonly groups: readonly KnownGroup[];
}

export interface ConnectionParts {
  readonly questions: Questions;
  readonly language: Language;
  readonly print: (line: string) => void;
  readonly signal: AbortSignal;
  /** Those of flags and variables; the defaults of the questions. */
  readonly url: string | undefined;
  readonly token: string | undefined;
  /** Is nobody asked, and so nothing assumed? */
  readonly unasked: boolean;
}

const WORDS = {
  zh: {
    url: "NapCat 的 WebSocket 服务器地址（留空：暂时只用调试页）",
    token: "NapCat 的 token（没有就直接回车）",
    keptToken: "NapCat 的 token（直接回车：用环境变量 NAPCAT_TOKEN）",
    connected: (app: string, id: string) => `✓ 已连接：${app}，QQ ${id}`,
    failed: "✗ 连接失败：",
    next: "怎么办？",
    again: "再试一次",
    change: "改地址或 token",
    goOn: "先这样，继续",
  },
  en: {
    url: "Address of NapCat's WebSocket server (empty: only the debug page for now)",
    token: "NapCat's token (Enter: none)",
    keptToken: "NapCat's token (Enter: that of NAPCAT_TOKEN)",
    connected: (app: string, id: string) => `✓ connected: ${app}, QQ ${id}`,
    failed: "✗ not connected: ",
    next: "What now?",
    again: "Try again",
    change: "Change address or token",
    goOn: "Go on like this",
  },
} as const;

/** `undefined`: no NapCat for now. */
export async function askConnection(
  parts: ConnectionParts,
): Promise<ConnectionAnswers | undefined> {
  const { questions, language, print, signal, unasked } = parts;
  const words = WORDS[language];
  let url = parts.url ?? (unasked ? "" : "ws://127.0.0.1:3001");
  for (;;) {
    url = await questions.text(words.url, url, wrongAddress);
    if (url === "" || url === "-") return undefined;
    const known = parts.token;
    const typed = await questions.secret(known === undefined ? words.token : words.keptToken);
    const token = typed === "" ? (known ?? "") : typed;
    for (;;) {
      try {
        const { app, selfId, groups } = await askNapCat(url, token === "" ? undefined : token, {
          timeoutMs: TIMEOUT_MS,
          signal,
          withGroups: true,
        });
        print(words.connected(app, selfId));
        return { url, token, groups };
      } catch (error) {
        signal.throwIfAborted();
        const problem = error instanceof NapCatCheckError ? error.problem : "unreachable";
        const advice = NAPCAT_ADVICE[problem];
        print(`${words.failed}${typeof advice === "string" ? advice : advice[language]}`);
      }
      const choices = [
        { value: "again", name: words.again },
        { value: "change", name: words.change },
        { value: "go-on", name: words.goOn },
      ];
      const next = await questions.choose(words.next, choices, "go-on");
      if (next === "go-on") return { url, token, groups: [] };
      if (next === "change") break;
    }
  }
}

/** `-` is a way to leave it out where a default would be taken for an empty answer. */
function wrongAddress(answer: string): string | undefined {
  if (answer === "" || answer === "-") return undefined;
  const [mistake] = findMistakes(CONNECT_SCHEMA.shape.url, answer);
  return mistake?.expected;
}
