// What a server says when it refuses a file. In: an answer. Out: the beginning of its text, and what JSON is in it. It judges
// nothing.

import type { HttpAnswer } from "./http-client.ts";
import { steadily } from "./steady-body.ts";

const MOST_SHOWN_BYTES = 4_096;

/** The beginning of what a refusal says: hubs answer in JSON, storages in XML that also repeats the signature. */
export async function refusalText(answer: HttpAnswer, patienceMs: number): Promise<string> {
  let text = "";
  try {
    for await (const chunk of steadily(answer.body, patienceMs)) {
      text += chunk.toString("utf8");
      if (text.length > MOST_SHOWN_BYTES) break;
    }
  } catch {
    // The reason is a courtesy.
  }
  return text;
}

export function jsonIn(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
