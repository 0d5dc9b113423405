import { describe, expect, it } from "vitest";
import { Random } from "../../../src/vlm/engine/random.ts";
import { StopStrings } from "../../../src/vlm/text/stop-strings.ts";

function run(stops: readonly string[], pieces: readonly string[]): [string, string | undefined] {
  const stopStrings = new StopStrings(stops);
  const shown = pieces.map((piece) => stopStrings.push(piece)).join("");
  return [shown + stopStrings.flush(), stopStrings.matched];
}

describe("StopStrings", () => {
  it("lets everything through at once without stop strings", () => {
    expect(new StopStrings([]).push("abc")).toBe("abc");
  });

  it("ends in front of a stop string and shows nothing after it", () => {
    const stops = new StopStrings(["END"]);
    expect(stops.push("some END more")).toBe("some ");
    expect(stops.push("and more")).toBe("");
    expect(stops.flush()).toBe("");
    expect(stops.matched).toBe("END");
  });

  it("holds back what may be the beginning, and shows it when it is not", () => {
    const stops = new StopStrings(["END", "NDX"]);
    expect(stops.push("aE")).toBe("a");
    expect(stops.push("N")).toBe("");
    expect(stops.push("E")).toBe("EN");
    expect(stops.push("NDx")).toBe("");
    expect(stops.matched).toBe("END");
  });

  it("shows what it held back at the end", () => {
    expect(run(["\n\nUser:"], ["hi\n", "\nUser"])).toEqual(["hi\n\nUser", undefined]);
  });

  it("takes the one that is complete first", () => {
    expect(run(["abcd", "bc"], ["xabcd"])).toEqual(["xa", "bc"]);
    expect(run(["bc", "abc"], ["xabc"])).toEqual(["x", "abc"]);
  });

  it("sees overlapping beginnings", () => {
    expect(run(["aab"], ["a", "a", "a", "b"])).toEqual(["a", "aab"]);
  });

  it("ignores an empty stop string and never cuts a character in two", () => {
    expect(run(["", "\ude00"], ["a😀b"])).toEqual(["a😀b", undefined]);
  });

  it("gives one result however the text is cut", () => {
    const random = new Random(7);
    const pick = (n: number): number => Math.floor(random.next() * n);
    const word = (length: number): string =>
      Array.from({ length }, () => "ab😀"[pick(2)] ?? "").join("");
    for (let round = 0; round < 2000; round++) {
      const text = word(1 + pick(12));
      const stops = Array.from({ length: 1 + pick(3) }, () => word(1 + pick(4)));
      const pieces: string[] = [];
      for (let at = 0; at < text.length; ) {
        const end = at + 1 + pick(4);
        pieces.push(text.slice(at, end));
        at = end;
      }
      const whole = run(stops, [text]);
      expect(run(stops, pieces)).toEqual(whole);
      const [shown] = whole;
      expect(text.startsWith(shown)).toBe(true);
      expect(stops.some((stop) => shown.includes(stop))).toBe(false);
    }
  });
});
