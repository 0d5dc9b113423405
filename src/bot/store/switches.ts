// What people changed about a chat while the bot ran, in a table of a database. In and out: switches by key.
// It throws what the database throws. It knows nothing of what follows from them.

import { z } from "zod";
import type { Database } from "./database.ts";

/** What was changed about one chat; what is left out is as it was configured. */
export interface StoredSwitch {
  readonly access?: "allow" | "deny" | undefined;
  /** Milliseconds since 1970; `Infinity` for ever. */
  readonly mutedUntilMs?: number | undefined;
  readonly persona?: string | undefined;
}

/** JSON has no infinity. */
const FOR_EVER = "for ever";

const SWITCH = z.object({
  access: z.enum(["allow", "deny"]).optional(),
  mutedUntilMs: z
    .union([z.number(), z.literal(FOR_EVER).transform(() => Number.POSITIVE_INFINITY)])
    .optional(),
  persona: z.string().optional(),
}) satisfies z.ZodType<StoredSwitch>;

/** The table `switches`. */
export class SwitchTable {
  readonly #database: Database;

  constructor(database: Database) {
    this.#database = database;
  }

  read(key: string): StoredSwitch | undefined {
    const [row] = this.#database.rows("SELECT value FROM switches WHERE key = ?", [key]);
    if (row === undefined) return undefined;
    const read = SWITCH.safeParse(JSON.parse(String(row.value)));
    return read.success ? read.data : undefined;
  }

  write(key: string, value: StoredSwitch): void {
    const { mutedUntilMs, ...rest } = value;
    const until = mutedUntilMs === Number.POSITIVE_INFINITY ? FOR_EVER : mutedUntilMs;
    this.#database.run("INSERT OR REPLACE INTO switches (key, value) VALUES (?, ?)", [
      key,
      JSON.stringify({ ...rest, mutedUntilMs: until }),
    ]);
  }
}
