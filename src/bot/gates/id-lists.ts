// Which numbers are meant by two lists, one of those allowed and one of those denied. `*` stands for any digits, `?` for one.
// In: a number. Out: yes or no. It knows nothing of what the numbers stand for.

export interface IdLists {
  /** `["*"]`: all. */
  readonly allow: readonly string[];
  /** Takes out of those. */
  readonly deny: readonly string[];
}

/** Lists that were read once. */
export class AllowedIds {
  readonly #allow: (id: string) => boolean;
  readonly #deny: (id: string) => boolean;

  constructor({ allow, deny }: IdLists) {
    this.#allow = matcherOf(allow);
    this.#deny = matcherOf(deny);
  }

  has(id: string): boolean {
    return this.#allow(id) && !this.#deny(id);
  }
}

function matcherOf(list: readonly string[]): (id: string) => boolean {
  const exact = new Set(list);
  const patterns = list.filter((entry) => /[*?]/u.test(entry)).map(patternOf);
  return (id) => exact.has(id) || patterns.some((pattern) => pattern.test(id));
}

function patternOf(entry: string): RegExp {
  const source = [...entry]
    .map((character) => {
      if (character === "*") return ".*";
      return character === "?" ? "." : character.replace(/[\\^$.|+()[\]{}/]/gu, "\\$&");
    })
    // Two stars say no more than one, and take the engine a long time.
    .filter((part, index, all) => part !== ".*" || all[index - 1] !== ".*");
  return new RegExp(`^${source.join("")}$`, "u");
}
