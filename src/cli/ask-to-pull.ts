// The question whether a model is to be fetched now. In: its name, and a terminal. Out: yes or no; no where nobody can
// answer. Ctrl-C, Ctrl-D and a terminal that goes away are a no as well: the command to give later follows.

import { createInterface } from "node:readline/promises";
import type { Readable, Writable } from "node:stream";

export interface Terminal {
  readonly input: Readable & { readonly isTTY?: boolean };
  readonly output: Writable & { readonly isTTY?: boolean };
}

/** @throws the signal's reason */
export async function askToPull(
  name: string,
  signal: AbortSignal,
  { input, output }: Terminal = { input: process.stdin, output: process.stdout },
): Promise<boolean> {
  if (input.isTTY !== true || output.isTTY !== true) return false;
  const lines = createInterface({ input, output });
  // An input that ends leaves the question open for ever.
  const ended = new Promise<undefined>((resolve) => lines.once("close", () => resolve(undefined)));
  const asked = lines
    .question(`还没有 ${name}，现在下载吗？ · It is not here yet. Fetch it now? [Y/n] `, { signal })
    .catch(() => undefined);
  try {
    const answer = await Promise.race([asked, ended]);
    signal.throwIfAborted();
    if (answer !== undefined) return /^\s*(?:y|yes|是|好)?\s*$/i.test(answer);
    output.write("\n");
    return false;
  } finally {
    lines.close();
  }
}
