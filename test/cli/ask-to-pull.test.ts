// The question whether a model is to be fetched: every way to answer it, and none.

import { PassThrough } from "node:stream";
import { expect, it } from "vitest";
import { askToPull } from "../../src/cli/ask-to-pull.ts";

const signal = new AbortController().signal;

/** A terminal whose keys are pressed as soon as the question stands there. */
function terminal(press: (input: PassThrough) => void, { tty = true } = {}) {
  const input = Object.assign(new PassThrough(), { isTTY: tty, setRawMode: () => input });
  const shown: string[] = [];
  const output = Object.assign(new PassThrough(), { isTTY: true, columns: 80 });
  output.on("data", (text: Buffer) => {
    shown.push(text.toString());
    if (/\[Y\/n\] $/.test(plain())) press(input);
  });
  const plain = () =>
    shown
      .join("")
      // biome-ignore lint/suspicious/noControlCharactersInRegex: what moves the cursor
      .replace(/\u001b\[[\d;]*\w/g, "");
  return { input, output, plain };
}

it.each([
  ["Enter", "\r", true],
  ["y", "y\r", true],
  ["YES", "YES\r", true],
  ["是", "是\r", true],
  ["n", "n\r", false],
  ["something else", "what?\r", false],
  ["Ctrl-C", "\u0003", false],
  ["Ctrl-D", "\u0004", false],
])("%s is an answer", async (_what, keys, expected) => {
  let pressed = false;
  const { plain, ...streams } = terminal((input) => {
    if (!pressed) input.write(keys);
    pressed = true;
  });
  expect(await askToPull("Test/tiny", signal, streams)).toBe(expected);
  expect(plain()).toContain(
    "还没有 Test/tiny，现在下载吗？ · It is not here yet. Fetch it now? [Y/n]",
  );
});

it("the end of the input is a no, and none to wait for", async () => {
  const { plain: _, ...streams } = terminal((input) => input.end());
  expect(await askToPull("Test/tiny", signal, streams)).toBe(false);
});

it("a signal to stop ends the question with its reason", async () => {
  const controller = new AbortController();
  const { plain: _, ...streams } = terminal(() => controller.abort(new Error("stop")));
  await expect(askToPull("Test/tiny", controller.signal, streams)).rejects.toThrow("stop");
});

it("is not put where nobody can answer", async () => {
  const { plain, ...streams } = terminal(() => {}, { tty: false });
  expect(await askToPull("Test/tiny", signal, streams)).toBe(false);
  expect(plain()).toBe("");
});
