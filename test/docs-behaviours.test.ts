// The table of behaviours against the tests: none is missing, and every test it names is there, under that name.

import { describe, expect, it } from "vitest";
import { LANGUAGES, read, tableOf } from "./support/book.ts";
import { codes } from "./support/markdown.ts";

const KINDS = [
  ["behaviours", 30],
  ["failures", 15],
] as const;

describe.each(LANGUAGES)("the tests named in %s", (language) => {
  it.each(KINDS)("are there: %s", async (kind, last) => {
    const rows = tableOf(language, `tests: ${kind}`);
    const numbers = rows.map(([number]) => Number(number));
    expect(numbers).toEqual(Array.from({ length: last }, (_, index) => index + 1));
    for (const [number, , cell = ""] of rows) {
      const named = codes(cell);
      expect(named.length, `${kind} ${number}`).toBeGreaterThanOrEqual(2);
      for (let index = 0; index < named.length; index += 2) {
        const [file = "", name = ""] = named.slice(index, index + 2);
        expect(await read(file), `${kind} ${number}: ${file}`).toContain(JSON.stringify(name));
      }
    }
  });

  it("are the same as in the other language", () => {
    const named = (of: (typeof LANGUAGES)[number]) =>
      KINDS.flatMap(([kind]) =>
        tableOf(of, `tests: ${kind}`).map(([, , cell = ""]) => codes(cell)),
      );
    expect(named(language)).toEqual(named("en"));
  });
});
