// The database file of a store: opened, brought up to date, and moved aside where it is damaged. In: a path. Out: a
// database with today's tables, or the reason why there is none. It knows nothing of what is kept there.

import { disk } from "../../disk.ts";
import { codeOf, DiskError } from "../../disk-error.ts";
import { type Database, openDatabase } from "./database.ts";
import { NewerStoreError, prepareDatabase } from "./schema.ts";

/** Reading all of a file takes a while; larger ones show their damage when it is met. */
const MAX_CHECKED_BYTES = 32 * 1024 * 1024;

/** An open database, and where a damaged one was moved. */
export interface OpenedStore {
  readonly database: Database;
  readonly movedTo: string | undefined;
}

/** @throws {unknown} where there can be no store: see {@link whyNoStore} */
export async function openStoreFile(path: string, now: () => number): Promise<OpenedStore> {
  try {
    return { database: await open(path), movedTo: undefined };
  } catch (error) {
    if (!isDamage(error)) throw error;
    const movedTo = await moveAside(path, now());
    return { database: await open(path), movedTo };
  }
}

async function open(path: string): Promise<Database> {
  const size = (await disk.fileSize(path)) ?? 0;
  const database = await openDatabase(path);
  try {
    prepareDatabase(database);
    if (size <= MAX_CHECKED_BYTES) assertWhole(database);
    return database;
  } catch (error) {
    database.close();
    throw error;
  }
}

function assertWhole(database: Database): void {
  const [row] = database.rows("PRAGMA quick_check(1)", []);
  if (row?.quick_check === "ok") return;
  throw Object.assign(new Error("The file is damaged."), { code: "SQLITE_CORRUPT" });
}

/** Renames the file and its log, which belongs to it and to no other. Returns where they are. */
async function moveAside(path: string, now: number): Promise<string> {
  const stamp = new Date(now).toISOString().replace(/[:.]/gu, "-");
  const aside = `${path}.damaged-${stamp}`;
  await disk.moveFile(path, aside);
  if ((await disk.fileSize(`${path}-wal`)) !== undefined) {
    await disk.moveFile(`${path}-wal`, `${aside}-wal`);
  }
  await disk.remove(`${path}-shm`);
  return aside;
}

/** Is the file itself at fault, and not what is around it? */
export function isDamage(error: unknown): boolean {
  return /^SQLITE_(?:NOTADB|CORRUPT)/u.test(codeOf(error) ?? "");
}

/** In words, without anything that is stored. */
export function whyNoStore(error: unknown): string {
  // Of a value: the file is as it was, and the next thing is stored again.
  if (error instanceof TypeError) return "something in it cannot be stored";
  if (error instanceof DiskError || error instanceof NewerStoreError) return error.message;
  const code = codeOf(error) ?? "";
  const said = error instanceof Error ? error.message : "";
  if (code.startsWith("SQLITE_BUSY")) return "another bot uses the same directory";
  if (code.startsWith("SQLITE_FULL")) return "the disk is full";
  if (code.startsWith("SQLITE_READONLY") || /Unable to open.*: 14\b/u.test(said)) {
    return "the directory cannot be written";
  }
  if (code.startsWith("SQLITE_IOERR")) return "the disk does not work";
  if (code === "MODULE_NOT_FOUND" || code === "ERR_MODULE_NOT_FOUND") {
    return "the package `libsql` has no binary for this system";
  }
  return code === "" ? "the database cannot be opened" : `the database says ${code}`;
}
