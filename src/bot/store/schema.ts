// The tables of a store, version by version. In: a database of any version. Out: one of today's. What is in the tables,
// histories.ts and switches.ts know.

import type { Database } from "./database.ts";

/** Each makes the next version out of the one before it. What was published once is never changed. */
const MIGRATIONS: readonly string[] = [
  `
  CREATE TABLE histories (
    key TEXT PRIMARY KEY,
    turns TEXT NOT NULL,
    used_at INTEGER NOT NULL
  ) WITHOUT ROWID;
  CREATE INDEX histories_by_age ON histories (used_at);

  -- What a turn of a history is found by: its chat, who asked, its messages, its pictures.
  CREATE TABLE marks (
    mark TEXT NOT NULL,
    history TEXT NOT NULL REFERENCES histories (key) ON DELETE CASCADE,
    PRIMARY KEY (mark, history)
  ) WITHOUT ROWID;
  CREATE INDEX marks_by_history ON marks (history);

  CREATE TABLE pictures (
    hash TEXT PRIMARY KEY,
    size INTEGER NOT NULL,
    used_at INTEGER NOT NULL,
    bytes BLOB NOT NULL
  );
  CREATE INDEX pictures_by_age ON pictures (used_at, size);

  CREATE TABLE switches (
    key TEXT PRIMARY KEY,
    value TEXT NOT NULL
  ) WITHOUT ROWID;
  `,
];

/** The version of the tables of this program. */
export const SCHEMA_VERSION = MIGRATIONS.length;

/** The file was written by a later version of this program. */
export class NewerStoreError extends Error {
  override readonly name = "NewerStoreError";
}

/** @throws {NewerStoreError} for tables this program does not know; they stay as they are. */
export function prepareDatabase(database: Database): void {
  // Nobody else writes to the file while it is open: two bots would undo each other's work.
  database.rows("PRAGMA locking_mode = EXCLUSIVE", []);
  const version = versionOf(database);
  if (version > SCHEMA_VERSION) {
    throw new NewerStoreError(
      `Its tables have version ${version}, this program knows those up to ${SCHEMA_VERSION}`,
    );
  }
  // Only a new file takes this: what is deleted makes the file smaller.
  if (version === 0) database.rows("PRAGMA auto_vacuum = INCREMENTAL", []);
  database.rows("PRAGMA journal_mode = WAL", []);
  database.rows("PRAGMA synchronous = NORMAL", []);
  database.rows("PRAGMA foreign_keys = ON", []);
  // What was taken back is overwritten, not only unlinked.
  database.rows("PRAGMA secure_delete = ON", []);
  for (const [index, migration] of MIGRATIONS.entries()) {
    if (index < version) continue;
    database.transaction(() => {
      database.execute(migration);
      database.execute(`PRAGMA user_version = ${index + 1}`);
    });
  }
}

function versionOf(database: Database): number {
  const [row] = database.rows("PRAGMA user_version", []);
  return Number(row?.user_version ?? 0);
}
