import { describe, expect, it } from "vitest";
import { TimeSlice } from "../../../src/vlm/event-loop/time-slice.ts";
import { readLargeJson } from "../../../src/vlm/text/large-json.ts";

async function read(text: string) {
  const entries: Record<string, unknown> = {};
  const items: unknown[] = [];
  const pieces = { entries: 0, items: 0 };
  const parts = [
    {
      path: ["model", "vocab"],
      take: (piece: object) => {
        pieces.entries++;
        Object.assign(entries, piece);
      },
    },
    {
      path: ["model", "merges"],
      take: (piece: object) => {
        pieces.items++;
        items.push(...Object.values(piece));
      },
    },
  ];
  const rest = await readLargeJson(Buffer.from(text), parts, new TimeSlice());
  return { rest, entries, items, pieces };
}

describe("readLargeJson", () => {
  it("takes large parts out and leaves the rest as it is", async () => {
    const json = {
      vocab: { not: "this one" },
      list: [{ model: { vocab: { nor: "this" } } }],
      model: { type: "BPE", vocab: { a: 1, "}{": 2 }, merges: [["a", "b"], "c d"], last: [1, {}] },
      text: 'quotes " and \\ and {"model": {"vocab": {"x": 1}}}',
    };
    for (const text of [JSON.stringify(json), JSON.stringify(json, undefined, 2)]) {
      const { rest, entries, items } = await read(text);
      expect(rest).toEqual({ ...json, model: { ...json.model, vocab: {}, merges: [] } });
      expect(entries).toEqual(json.model.vocab);
      expect(items).toEqual(json.model.merges);
    }
  });

  it("reads keys of any spelling, in many pieces", async () => {
    const vocab = Object.fromEntries(
      Array.from({ length: 9000 }, (_, i) => [`${i}"\\,:{}[]\n\\\\é中🙂${"\\".repeat(i % 5)}`, i]),
    );
    const merges = Array.from({ length: 9000 }, (_, i) => [`${i},`, `]\\"${i}`]);
    const json = { model: { vocab, merges } };
    const { rest, entries, items, pieces } = await read(`\uFEFF ${JSON.stringify(json)}\n`);
    expect(rest).toEqual({ model: { vocab: {}, merges: [] } });
    expect(entries).toEqual(vocab);
    expect(items).toEqual(merges);
    expect(pieces.entries).toBeGreaterThan(5);
    expect(pieces.items).toBeGreaterThan(5);
  });

  it("knows keys that are written with escapes", async () => {
    const { entries } = await read('{"mod\\u0065l": {"voc\\u0061b": {"a": 1}}}');
    expect(entries).toEqual({ a: 1 });
  });

  it("takes empty parts, and files without any", async () => {
    expect((await read('{"model":{"vocab":{},"merges":[ ]}}')).entries).toEqual({});
    expect((await read("[1, 2]")).rest).toEqual([1, 2]);
    expect((await read('"{"')).rest).toBe("{");
  });

  it.each([
    "",
    "{",
    '{"model": {"vocab": {"a": 1}',
    '{"model": {"vocab": {"a": }}}',
    '{"model": {"vocab": {"a": 1,}}}',
    '{"model": {"vocab": {"a": 1]}}',
    '{"model": {"merges": ["a"}}',
    '{"model": "',
    '{"model": {}} x',
  ])("refuses %s as JSON.parse does", async (text) => {
    expect(() => JSON.parse(text)).toThrow(SyntaxError);
    await expect(read(text)).rejects.toThrow(SyntaxError);
  });
});
