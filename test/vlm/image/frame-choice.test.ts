import { describe, expect, it } from "vitest";
import { chooseFrames } from "../../../src/vlm/image/frame-choice.ts";

/** A frame of four pixels, each grey. */
const frame = (...levels: number[]) =>
  Uint8Array.from(levels.flatMap((level) => [level, level, level]));
const blank = frame(255, 255, 255, 255);
const a = frame(0, 255, 255, 255);
const b = frame(255, 0, 255, 255);
const c = frame(255, 255, 0, 0);

describe("chooseFrames", () => {
  it("takes the first frame that is not empty, and the most different ones, in order", () => {
    expect(chooseFrames([blank, a, b, c], 4)).toEqual([1, 2, 3]);
    expect(chooseFrames([blank, a, b, c], 2)).toEqual([1, 3]);
    expect(chooseFrames([c, a, b, blank], 1)).toEqual([0]);
  });

  it("takes no frame that shows the same, though not to the last level", () => {
    const almost = frame(3, 252, 255, 254);
    expect(chooseFrames([a, almost, a, b, almost, b], 4)).toEqual([0, 3]);
  });

  it("knows an empty frame of any colour, and noise from a picture", () => {
    expect(chooseFrames([frame(0, 0, 0, 0), frame(90, 92, 91, 94), a], 4)).toEqual([2]);
    const tinted = Uint8Array.from([10, 200, 30, 10, 200, 30, 10, 200, 30, 10, 200, 30]);
    expect(chooseFrames([tinted, a], 4)).toEqual([1]);
  });

  it("takes the first of nothing but empty frames", () => {
    expect(chooseFrames([blank, blank, frame(9, 9, 9, 9)], 4)).toEqual([0]);
  });
});
