// Pasts in the tables of a database, with the pictures they refer to. In and out: kept turns by key.
// It throws what the database throws. It knows nothing of files, and nothing of what people can be told.

import { z } from "zod";
import { hashesOf, type KeptTurn, mark, marksOf } from "../chat/kept-turns.ts";
import type { Database, Row } from "./database.ts";

export interface HistoryTablesOptions {
  /** Pasts unused for longer are removed. */
  readonly ttlMs: number;
  /** Bytes of pictures kept; those unused for longest go first. */
  readonly maxPictureBytes: number;
  /** Milliseconds since 1970. */
  readonly now: () => number;
}

const TURNS = z.array(
  z.object({
    parts: z.array(
      z.union([
        z.object({ type: z.literal("text"), text: z.string() }),
        z.object({
          type: z.literal("note"),
          text: z.string(),
          replaces: z.literal("image").exactOptional(),
        }),
        z.object({ type: z.literal("picture"), hash: z.string(), bytes: z.number() }),
      ]),
    ),
    answer: z.string(),
    messageIds: z.array(z.string()).exactOptional(),
    names: z.array(z.string()).exactOptional(),
    firstPicture: z.number().exactOptional(),
    chat: z.string().exactOptional(),
    sender: z.string().exactOptional(),
  }),
) satisfies z.ZodType<readonly KeptTurn[]>;

/** The tables `histories`, `marks` and `pictures`. */
export class HistoryTables {
  readonly #database: Database;
  readonly #options: HistoryTablesOptions;

  constructor(database: Database, options: HistoryTablesOptions) {
    this.#database = database;
    this.#options = options;
  }

  read(key: string): readonly KeptTurn[] | undefined {
    const [row] = this.#database.rows(
      "SELECT turns FROM histories WHERE key = ? AND used_at >= ?",
      [key, this.#oldest],
    );
    if (row === undefined) return undefined;
    // What another version, or somebody by hand, wrote in another form is no past.
    const read = TURNS.safeParse(jsonOf(row.turns));
    return read.success ? read.data : undefined;
  }

  write(
    key: string,
    past: readonly KeptTurn[],
    picture: (hash: string) => Uint8Array | undefined,
  ): void {
    if (past.length === 0) {
      this.remove(key);
      return;
    }
    const turns = JSON.stringify(past);
    const earlier = this.#database.rows("SELECT turns FROM histories WHERE key = ?", [key]);
    this.#database.transaction(() => {
      const before = this.#hashesOf(key);
      const now = this.#options.now();
      this.#database.run("DELETE FROM histories WHERE key = ?", [key]);
      this.#database.run("INSERT INTO histories (key, turns, used_at) VALUES (?, ?, ?)", [
        key,
        turns,
        now,
      ]);
      for (const found of new Set(past.flatMap(marksOf))) {
        this.#database.run("INSERT INTO marks (mark, history) VALUES (?, ?)", [found, key]);
      }
      const hashes = new Set(past.flatMap(({ parts }) => hashesOf(parts)));
      for (const hash of hashes) this.#writePicture(hash, now, picture);
      this.#removeUnused(before.filter((hash) => !hashes.has(hash)));
      this.#makeRoom();
    });
    // Something was taken out, not only put behind: somebody may have wanted it gone.
    if (earlier.some((row) => !turns.startsWith(String(row.turns).slice(0, -1)))) this.#shrink();
  }

  remove(key: string): void {
    this.#database.transaction(() => {
      const before = this.#hashesOf(key);
      this.#database.run("DELETE FROM histories WHERE key = ?", [key]);
      this.#removeUnused(before);
    });
    this.#shrink();
  }

  picture(hash: string): Uint8Array | undefined {
    const [row] = this.#database.rows("SELECT bytes FROM pictures WHERE hash = ?", [hash]);
    return row?.bytes instanceof Uint8Array ? row.bytes : undefined;
  }

  keysWith(wanted: string): readonly string[] {
    const rows = this.#database.rows("SELECT history FROM marks WHERE mark = ?", [wanted]);
    return rows.map(({ history }) => String(history));
  }

  /** Removes what nobody used for too long. */
  removeExpired(): void {
    const expired = this.#database.rows("SELECT key FROM histories WHERE used_at < ?", [
      this.#oldest,
    ]);
    for (const { key } of expired) this.remove(String(key));
  }

  get #oldest(): number {
    // A time to live can be endless, and a number in the database cannot.
    return Math.max(0, this.#options.now() - this.#options.ttlMs);
  }

  #hashesOf(key: string): string[] {
    const prefix = mark.picture("");
    const rows = this.#database.rows(
      "SELECT mark FROM marks WHERE history = ? AND substr(mark, 1, ?) = ?",
      [key, prefix.length, prefix],
    );
    return rows.map((row) => String(row.mark).slice(prefix.length));
  }

  #writePicture(
    hash: string,
    now: number,
    picture: (hash: string) => Uint8Array | undefined,
  ): void {
    const [known] = this.#database.rows("SELECT size FROM pictures WHERE hash = ?", [hash]);
    if (known !== undefined) {
      this.#database.run("UPDATE pictures SET used_at = ? WHERE hash = ?", [now, hash]);
      return;
    }
    const bytes = picture(hash);
    if (bytes === undefined || bytes.byteLength > this.#options.maxPictureBytes) return;
    this.#database.run("INSERT INTO pictures (hash, size, used_at, bytes) VALUES (?, ?, ?, ?)", [
      hash,
      bytes.byteLength,
      now,
      Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength),
    ]);
  }

  #removeUnused(hashes: readonly string[]): void {
    for (const hash of hashes) {
      if (this.keysWith(mark.picture(hash)).length > 0) continue;
      this.#database.run("DELETE FROM pictures WHERE hash = ?", [hash]);
    }
  }

  #makeRoom(): void {
    const { maxPictureBytes } = this.#options;
    const [total] = this.#database.rows("SELECT total(size) AS bytes FROM pictures", []);
    let bytes = Number(total?.bytes ?? 0);
    if (bytes <= maxPictureBytes) return;
    const oldest: readonly Row[] = this.#database.rows(
      "SELECT hash, size FROM pictures ORDER BY used_at",
      [],
    );
    for (const { hash, size } of oldest) {
      if (bytes <= maxPictureBytes) return;
      this.#database.run("DELETE FROM pictures WHERE hash = ?", [String(hash)]);
      bytes -= Number(size);
    }
  }

  /** What was removed is neither in the file nor in its log any more. */
  #shrink(): void {
    this.#database.rows("PRAGMA incremental_vacuum", []);
    this.#database.rows("PRAGMA wal_checkpoint(TRUNCATE)", []);
  }
}

function jsonOf(text: unknown): unknown {
  try {
    return JSON.parse(String(text));
  } catch {
    return undefined;
  }
}
