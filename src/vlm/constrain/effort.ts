// What one form of an answer may cost in memory, counted over all of its automata: whoever makes states pays for them.
// A form that would cost more is refused, however it is made; nothing has to be stopped from outside.

import { TooComplexError } from "./too-complex.ts";

/** States of nondeterministic automata: about 0.3 kB each. */
const MOST_STATES = 150_000;
/** Members of the states that texts have reached: about 20 bytes each. */
const MOST_MEMBERS = 800_000;
/** Ways out of a state that take as much as one member. */
const WAYS_OF_A_MEMBER = 8;

export class Effort {
  #states = 0;
  #members = 0;

  /** So much is used that it is time to begin anew, with the next answer. */
  get worn(): boolean {
    return this.#members > MOST_MEMBERS / 2;
  }

  /** So little is used that states may be made before a text reaches them. */
  get light(): boolean {
    return this.#members < MOST_MEMBERS / 8;
  }

  /** Of memory, about. */
  get bytes(): number {
    return 300 * this.#states + 20 * this.#members;
  }

  /** @throws TooComplexError */
  payStates(count: number): void {
    this.#states += count;
    if (this.#states > MOST_STATES) throw new TooComplexError("it has too many states");
  }

  /** For one state with so many ways out. @throws TooComplexError */
  payMembers(count: number, ways: number): void {
    this.#members += count + Math.ceil(ways / WAYS_OF_A_MEMBER);
    if (this.#members > MOST_MEMBERS) {
      throw new TooComplexError("its texts can go on in too many ways");
    }
  }
}
