// Long work that can pause: a generator that yields wherever somebody may look at the clock or give up. Whoever has to
// wait lets it run to its end; whoever must not hold the event loop gives it to a lane.

import { TooComplexError } from "./too-complex.ts";

/** Work that pauses now and then, and its result. */
export type Steps<T> = Generator<void, T, void>;

/** Table look-ups and the like between two pauses: a fifth of a millisecond or so. */
const WORK_A_STEP = 4096;

/** Says when it is time for a pause, by what was done and not by the clock: the same work has the same steps everywhere. */
export class WorkCount {
  #done = 0;

  /** @param work about so many table look-ups @returns it is time for a pause */
  adds(work: number): boolean {
    this.#done += work;
    if (this.#done < WORK_A_STEP) return false;
    this.#done = 0;
    return true;
  }
}

/** All of it at once. */
export function finish<T>(steps: Steps<T>): T {
  let step = steps.next();
  while (!step.done) step = steps.next();
  return step.value;
}

/** The same work, given up after so many pauses. @throws TooComplexError */
export function* limited<T>(steps: Steps<T>, most: number, why: string): Steps<T> {
  try {
    let step = steps.next();
    for (let count = 0; !step.done; count++) {
      if (count >= most) throw new TooComplexError(why);
      yield;
      step = steps.next();
    }
    return step.value;
  } finally {
    steps.return(undefined as T);
  }
}
