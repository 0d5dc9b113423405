// What a proof consists of: named checks with what was found. In: work that returns a finding or throws. Out: a record,
// and a line on the screen as soon as it is known.

import { print } from "../terminal.ts";

export interface Check {
  readonly name: string;
  readonly ok: boolean;
  /** What was found, or why it failed. */
  readonly value: string | number;
}

/** Collects checks. One that throws has failed; the others go on. */
export class Checks {
  readonly list: Check[] = [];

  get ok(): boolean {
    return this.list.every(({ ok }) => ok);
  }

  async run(
    name: string,
    work: () => Promise<{ readonly ok: boolean; readonly value: string | number }>,
  ): Promise<boolean> {
    const found = await work().catch((error: unknown) => ({
      ok: false,
      value: error instanceof Error ? error.message : String(error),
    }));
    this.list.push({ name, ...found });
    print(`${found.ok ? "✓" : "✗"} ${name}: ${found.value}`);
    return found.ok;
  }
}
