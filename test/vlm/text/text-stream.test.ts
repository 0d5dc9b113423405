import { beforeAll, describe, expect, it } from "vitest";
import { Random } from "../../../src/vlm/engine/random.ts";
import { type TextDelta, TextStream } from "../../../src/vlm/text/text-stream.ts";
import type { Tokenizer } from "../../../src/vlm/text/tokenizer.ts";
import { asThinking, loadTinyChat } from "./tokenizers.ts";

/** One token per byte, then the named ones; as many bytes to a token as the test likes. */
const NAMES = ["<think>", "</think>", "<tool_call>", "<|im_end|>", "<|box_start|>"];
const THINK = 256;
const THINK_END = 257;
const TOOL_CALL = 258;
const BOX_START = 260;

const byteTokenizer = (thinking: boolean) => ({
  thinking,
  findSpecial: (name: string) => (NAMES.includes(name) ? 256 + NAMES.indexOf(name) : undefined),
  isSpecial: (id: number) => id > TOOL_CALL,
  tokenBytes: (id: number): Uint8Array =>
    id < 256 ? Uint8Array.of(id) : Buffer.from(NAMES[id - 256] ?? ""),
});

const bytes = (text: string): number[] => [...Buffer.from(text)];

function stream(ids: readonly number[], options: { thinking?: boolean; stop?: string[] } = {}) {
  const { thinking = false, stop } = options;
  const text = new TextStream({ tokenizer: byteTokenizer(thinking), stop });
  const deltas = [...ids.flatMap((id) => text.push(id)), ...text.end()];
  const join = (type: TextDelta["type"]): string =>
    deltas.map((delta) => (delta.type === type ? delta.text : "")).join("");
  return { deltas, text, answer: join("text-delta"), reasoning: join("reasoning-delta") };
}

const holdsHalfCharacter = ({ text }: TextDelta): boolean => /\p{Surrogate}|\uFFFD/u.test(text);

describe("TextStream", () => {
  it("shows a character when its last byte is there", () => {
    const text = new TextStream({ tokenizer: byteTokenizer(false) });
    const shown = bytes("é😀你").map((id) => text.push(id).map((delta) => delta.text));
    expect(shown).toEqual([[], ["é"], [], [], [], ["😀"], [], [], ["你"]]);
    expect(text.end()).toEqual([]);
  });

  it("never shows half a character, and loses none", () => {
    const written = "a é ß 你好 👩‍👩‍👧‍👦 🇨🇳 e\u0301 \u0000 𠮷 \ufeff end";
    const { deltas, answer } = stream(bytes(written));
    expect(answer).toBe(written);
    expect(deltas.some(holdsHalfCharacter)).toBe(false);
    expect(deltas.every((delta) => delta.text !== "")).toBe(true);
  });

  it("keeps a byte order mark, even as the first character", () => {
    expect(stream(bytes("\ufeffa")).answer).toBe("\ufeffa");
  });

  it.each([
    ["a lone continuation", [0x61, 0x80, 0x62], "a\uFFFDb"],
    ["a character broken off by the next", [0xe4, 0xbd, 0x61], "\uFFFDa"],
    ["a surrogate in UTF-8", [0xed, 0xa0, 0x80, 0x61], "\uFFFD\uFFFD\uFFFDa"],
    ["an impossible byte", [0xff, 0x61], "\uFFFDa"],
    ["a character that never ends", [0x61, 0xf0, 0x9f, 0x98], "a\uFFFD"],
  ])("shows U+FFFD for %s", (_, ids, shown) => {
    expect(stream(ids).answer).toBe(shown);
    expect(stream(ids).answer).toBe(Buffer.from(ids).toString("utf8"));
  });

  it("waits with U+FFFD as long as the character can still be completed", () => {
    const text = new TextStream({ tokenizer: byteTokenizer(false) });
    expect([0xf0, 0x9f, 0x98].flatMap((id) => text.push(id))).toEqual([]);
    expect(text.push(0x80)).toEqual([{ type: "text-delta", text: "😀" }]);
  });

  it("does not show special tokens, but shows tool calls", () => {
    const { answer } = stream([...bytes("a"), BOX_START, TOOL_CALL, ...bytes("b")]);
    expect(answer).toBe("a<tool_call>b");
  });

  it("shows nothing for an id without a token", () => {
    expect(stream([...bytes("a"), 99_999, ...bytes("b")]).answer).toBe("ab");
  });

  it("leaves the answer of an Instruct model as it is, marks of thoughts included", () => {
    const ids = [...bytes("\n\na"), THINK, ...bytes("x"), THINK_END, ...bytes("\nb\n ")];
    const { answer, reasoning, text } = stream(ids);
    expect(answer).toBe("\n\na<think>x</think>\nb\n ");
    expect(reasoning).toBe("");
    expect(text.reasoningTokens).toBe(0);
  });

  describe("with stop strings", () => {
    it("ends in front of one that is spread over tokens and cuts through one", () => {
      const { answer, text, deltas } = stream(bytes("Hi!\nUser: more"), { stop: ["\nUser:"] });
      expect(answer).toBe("Hi!");
      expect(text.stopped).toBe(true);
      expect(deltas.at(-1)!.text).toBe("!");
    });

    it("shows at the end what was held back for nothing", () => {
      const { answer, text } = stream(bytes("Hi\nUse"), { stop: ["\nUser:"] });
      expect(answer).toBe("Hi\nUse");
      expect(text.stopped).toBe(false);
    });

    it("finds one that the end of broken bytes completes", () => {
      expect(stream([0x61, 0xe4], { stop: ["\uFFFD"] }).answer).toBe("a");
    });

    it("does not look for them in the reasoning", () => {
      const ids = [...bytes("a.b"), THINK_END, ...bytes("c.d")];
      const { answer, reasoning } = stream(ids, { thinking: true, stop: ["."] });
      expect([reasoning, answer]).toEqual(["a.b", "c"]);
    });
  });

  describe("for a Thinking model", () => {
    const think = (ids: readonly number[]) => stream(ids, { thinking: true });

    it("splits at </think>, which nobody sees, and trims the line breaks of the format", () => {
      const ids = [...bytes("\nI see.\n\n"), THINK_END, ...bytes("\n\nA cat.\n")];
      const { answer, reasoning, text, deltas } = think(ids);
      expect(reasoning).toBe("I see.");
      expect(answer).toBe("A cat.\n");
      expect(text.reasoningTokens).toBe(10);
      const types = deltas.map((delta) => delta.type);
      expect(types.lastIndexOf("reasoning-delta")).toBeLessThan(types.indexOf("text-delta"));
    });

    it("takes everything for reasoning when the thought never ends", () => {
      const { answer, reasoning, text } = think(bytes("so far\n"));
      expect([answer, reasoning, text.reasoningTokens]).toEqual(["", "so far", 7]);
    });

    it("keeps white space inside the reasoning and indents at its beginning", () => {
      expect(think([...bytes("  a \n\n b \n"), THINK_END]).reasoning).toBe("  a \n\n b");
    });

    it("does not wait for </think> in letters", () => {
      const { answer, reasoning } = think([...bytes("</think>x"), THINK_END, ...bytes("y")]);
      expect([reasoning, answer]).toEqual(["</think>x", "y"]);
    });

    it("accepts an empty thought, and one that is opened once more", () => {
      expect(think([THINK_END, ...bytes("a")])).toMatchObject({ reasoning: "", answer: "a" });
      const again = think([THINK, ...bytes("\nt"), THINK_END, ...bytes("a")]);
      expect(again).toMatchObject({ reasoning: "t", answer: "a" });
    });

    it("shows a second </think> as text of the answer", () => {
      const { answer } = think([THINK_END, ...bytes("a"), THINK_END, ...bytes("\nb")]);
      expect(answer).toBe("a</think>\nb");
    });

    it("ends a broken character before the answer begins", () => {
      const { answer, reasoning } = think([0x61, 0xe4, THINK_END, 0xbd, 0xa0]);
      expect([reasoning, answer]).toEqual(["a\uFFFD", "\uFFFD\uFFFD"]);
    });
  });

  describe("with the tokenizer of a checkpoint", () => {
    let tokenizer: Tokenizer;

    beforeAll(async () => {
      tokenizer = await loadTinyChat();
    });

    it("gives back what was encoded", () => {
      const random = new Random(3);
      for (let round = 0; round < 200; round++) {
        const written = Array.from({ length: 20 }, () =>
          String.fromCodePoint(
            [0x20, 0x61, 0x4e00, 0x1f600][Math.floor(random.next() * 4)]! +
              Math.floor(random.next() * 64),
          ),
        ).join("");
        const text = new TextStream({ tokenizer });
        const deltas = [
          ...tokenizer.encodeText(written).flatMap((id) => text.push(id)),
          ...text.end(),
        ];
        expect(deltas.map((delta) => delta.text).join("")).toBe(written);
        expect(deltas.some(holdsHalfCharacter)).toBe(false);
      }
    });

    it("splits at the id of </think>", () => {
      const text = new TextStream({ tokenizer: asThinking(tokenizer, true) });
      const ids = [...tokenizer.encodeText("red"), 1683, ...tokenizer.encodeText("\n\n红色")];
      expect(
        [...ids.flatMap((id) => text.push(id)), ...text.end()].map(({ type }) => type),
      ).toContain("reasoning-delta");
      expect(text.reasoningTokens).toBe(tokenizer.encodeText("red").length + 1);
    });
  });
});
