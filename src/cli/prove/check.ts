// What a proof consists of: named checks with what was found, and what was left out. In: work that returns a finding or
// throws. Out: a record, and a line on the screen as soon as it is known.

import { print } from "../terminal.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or why it failed. */
  readonly value: string | number;
}

/** What could not be checked on this machine, and counts neither way. */
export interface LeftOut {
  readonly name: string;
  readonly why: string;
}

/** Collects checks. One that throws has failed; the others go on, unless whoever asked for them wants no more. */
export class Checks {
  readonly list: Check[] = [];
  readonly leftOut: LeftOut[] = [];
  readonly #signal: AbortSignal | undefined;

  /** @param signal aborting ends the collection: what fails by it is no finding */
  constructor(signal?: AbortSignal) {
    this.#signal = signal;
  }

  get ok(): boolean {
    return this.list.every(({ ok }) => ok);
  }

  /** @throws the reason of the signal */
  async run(
    name: string,
    work: () => Promise<{ readonly ok: boolean; readonly value: string | number }>,
  ): Promise<boolean> {
    this.#signal?.throwIfAborted();
    const found = await work().catch((error: unknown) => ({
      ok: false,
      value: error instanceof Error ? error.message : String(error),
    }));
    this.#signal?.throwIfAborted();
    this.list.push({ name, ...found });
    print(`${found.ok ? "✓" : "✗"} ${name}: ${found.value}`);
    return found.ok;
  }

  leaveOut(name: string, why: string): void {
    this.leftOut.push({ name, why });
    print(`– ${name}: 未做 · left out: ${why}`);
  }
}
