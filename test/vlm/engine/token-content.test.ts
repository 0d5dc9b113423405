import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { type PictureSpan, TokenContent } from "../../../src/vlm/engine/token-content.ts";
import { effort } from "../../support/fuzz.ts";

/** Texts and pictures one after the other: few of each, so that beginnings are often the same. */
const contents = fc
  .array(
    fc.oneof(
      fc.record({ ids: fc.array(fc.integer({ min: 0, max: 1 }), { maxLength: 4 }) }),
      fc.record({ key: fc.constantFrom("a", "b"), length: fc.integer({ min: 1, max: 3 }) }),
    ),
    { maxLength: 6 },
  )
  .map((parts) => {
    const ids: number[] = [];
    const pictures: PictureSpan[] = [];
    for (const part of parts) {
      if ("ids" in part) ids.push(...part.ids);
      else {
        pictures.push({ start: ids.length, length: part.length, key: part.key });
        for (let i = 0; i < part.length; i++) ids.push(9);
      }
    }
    return new TokenContent(Int32Array.from(ids), pictures);
  });

/** What one token stands for, in words. */
function meaning(content: TokenContent, index: number): string {
  const picture = content.pictures.find(
    ({ start, length }) => start <= index && index < start + length,
  );
  return `${content.at(index)} ${picture ? `${picture.key}@${picture.start}+${picture.length}` : ""}`;
}

describe("TokenContent.common", () => {
  it("counts tokens that stand for the same, also from the middle of a picture on", () => {
    fc.assert(
      fc.property(contents, contents, fc.nat(), fc.nat(), (one, other, from, to) => {
        const start = from % (Math.min(one.length, other.length) + 1);
        const end = start + (to % (other.length - start + 1));
        const limit = Math.min(end, one.length);
        let expected = 0;
        while (
          start + expected < limit &&
          meaning(one, start + expected) === meaning(other, start + expected)
        ) {
          expected++;
        }
        expect(one.common(start, other.part(start, end))).toBe(expected);
      }),
      effort(1000),
    );
  });
});
