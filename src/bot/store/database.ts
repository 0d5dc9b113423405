// SQLite inside the process: the only file that knows libsql, which is loaded when a database is opened and not before.
// In: SQL with values. Out: rows. libsql ends the whole process on a value it does not expect: every value is checked here.

/** What a column can be given. Objects, dates, booleans and typed arrays other than a Buffer end the process. */
export type Value = string | number | Buffer | null;

/** What a column can hold, as it comes back. */
export type Row = Readonly<Record<string, unknown>>;

/** A database file that was opened. */
export interface Database {
  /** Statements without values, such as those that make tables. */
  execute(sql: string): void;
  run(sql: string, values: readonly Value[]): void;
  rows(sql: string, values: readonly Value[]): readonly Row[];
  /** Does all of it or nothing. */
  transaction(work: () => void): void;
  close(): void;
}

/** The methods of libsql that are used; it follows better-sqlite3. */
interface Native {
  exec(sql: string): void;
  prepare(sql: string): NativeStatement;
  close(): void;
}

interface NativeStatement {
  run(values: unknown[]): unknown;
  all(values: unknown[]): unknown[];
}

/**
 * Opens a file, or makes it.
 *
 * @throws {unknown} what libsql says, with a `code` such as SQLITE_NOTADB; or the system, where it has no binary for it.
 */
export async function openDatabase(path: string): Promise<Database> {
  const { default: Libsql } = await import("libsql");
  return new CheckedDatabase(new Libsql(path) as Native);
}

class CheckedDatabase implements Database {
  readonly #native: Native;
  readonly #statements = new Map<string, NativeStatement>();

  constructor(native: Native) {
    this.#native = native;
  }

  execute(sql: string): void {
    this.#native.exec(sql);
  }

  run(sql: string, values: readonly Value[]): void {
    this.#prepare(sql).run(bindable(values, sql));
  }

  rows(sql: string, values: readonly Value[]): readonly Row[] {
    return this.#prepare(sql).all(bindable(values, sql)).map(withBytes);
  }

  transaction(work: () => void): void {
    this.#native.exec("BEGIN IMMEDIATE");
    try {
      work();
      this.#native.exec("COMMIT");
    } catch (error) {
      try {
        this.#native.exec("ROLLBACK");
      } catch {
        // A full disk ends the transaction by itself.
      }
      throw error;
    }
  }

  close(): void {
    // Statements keep the file open and locked until they are collected: what is to be let go is let go here.
    try {
      this.rows("PRAGMA journal_mode = DELETE", []);
      this.rows("PRAGMA locking_mode = NORMAL", []);
      this.rows("SELECT count(*) FROM sqlite_schema", []);
    } catch {
      // A damaged file, or one that somebody else has, has nothing to let go.
    }
    this.#statements.clear();
    this.#native.close();
  }

  #prepare(sql: string): NativeStatement {
    const known = this.#statements.get(sql);
    if (known !== undefined) return known;
    const statement = this.#native.prepare(sql);
    this.#statements.set(sql, statement);
    return statement;
  }
}

/** Bytes come as an ArrayBuffer from some calls and as a Buffer from others. */
function withBytes(row: unknown): Row {
  const columns = Object.entries(row as Row).map(([name, value]) => [
    name,
    value instanceof ArrayBuffer ? Buffer.from(value) : value,
  ]);
  return Object.fromEntries(columns) as Row;
}

/** The values as libsql takes them. @throws {TypeError} for one that it would not survive, or would change silently. */
export function bindable(values: readonly unknown[], sql: string): unknown[] {
  const wanted = sql.match(/\?/gu)?.length ?? 0;
  if (!Array.isArray(values) || values.length !== wanted) {
    throw new TypeError(`Expected ${wanted} values for a statement, got ${values.length}.`);
  }
  return values.map((value: unknown, index) => {
    if (value === null || isWholeText(value) || isExact(value) || Buffer.isBuffer(value)) {
      return value;
    }
    throw new TypeError(`Value ${index} of a statement cannot be stored (${typeof value}).`);
  });
}

/** Text is cut at U+0000. */
function isWholeText(value: unknown): boolean {
  return typeof value === "string" && !value.includes("\0");
}

/** Integers beyond 2^53 lose digits; there is no infinity. */
function isExact(value: unknown): boolean {
  if (typeof value !== "number" || !Number.isFinite(value)) return false;
  return !Number.isInteger(value) || Number.isSafeInteger(value);
}
