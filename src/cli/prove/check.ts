// What a proof consists of: named checks with what was found, and what was left out. In: work that returns a finding or
// throws. Out: a record, and a line on the screen as soon as it is known.

import { print } from "../terminal.ts";
import { withoutHome } from "./report-file.ts";

export interface Finding {
  readonly ok: boolean;
  /** What was found, or why it failed. */
  readonly value: string | number;
}

export interface Check extends Finding {
  readonly name: string;
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

  /** Nothing that was never looked at holds. */
  get ok(): boolean {
    return this.list.length > 0 && this.list.every(({ ok }) => ok);
  }

  /** @throws the reason of the signal */
  async run(name: string, work: () => Promise<Finding>): Promise<boolean> {
    this.#signal?.throwIfAborted();
    const found = await work().catch((error: unknown) => ({
      ok: false,
      value: error instanceof Error ? error.message : String(error),
    }));
    this.#signal?.throwIfAborted();
    this.add({ name, ...found });
    return found.ok;
  }

  add({ name, ok, value }: Check): void {
    const shown = typeof value === "string" ? withoutHome(value) : value;
    this.list.push({ name, ok, value: shown });
    print(`${ok ? "✓" : "✗"} ${name}: ${shown}`);
  }

  leaveOut(name: string, why: string): void {
    this.leftOut.push({ name, why });
    print(`– ${name}: 未做 · left out: ${why}`);
  }
}
