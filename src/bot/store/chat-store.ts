// What outlives the process: pasts, their pictures, and what people changed about chats. In: a directory. Out: a store
// that never throws: trouble with the disk is said once, the bot answers on, and what could not be written is written when
// it can be. It knows nothing of who asks.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import {
  integer,
  matching,
  nonEmptyText,
  object,
  parseOptions,
  positiveOrInfinite,
} from "../../parse-options.ts";
import type { HistoryStore } from "../chat/conversations.ts";
import { type KeptTurn, marksOf } from "../chat/kept-turns.ts";
import { DEFAULT_LOGGER, isLogger, type Logger, safeLogger } from "../logger.ts";
import type { Database } from "./database.ts";
import { HistoryTables } from "./histories.ts";
import { isDamage, openStoreFile, whyNoStore } from "./store-file.ts";
import { type StoredSwitch, SwitchTable } from "./switches.ts";

export interface ChatStoreOptions {
  /** Made if it is not there. One bot at a time. */
  readonly directory: string;
  /** Pasts nobody added to for so long are removed; `Infinity`: never. @default 30 days */
  readonly ttlMs?: number;
  /** Bytes of pictures kept in the file; those unused for longest become notes. @default 512 MiB */
  readonly maxPictureBytes?: number;
  /** @default DEFAULT_LOGGER */
  readonly logger?: Logger;
}

/** Where what people changed about chats outlives the process. */
export interface SwitchStore {
  read(key: string): StoredSwitch | undefined;
  write(key: string, value: StoredSwitch): void;
}

/** A store that is open. Whoever opened it closes it, after the bot. */
export interface ChatStore {
  readonly histories: HistoryStore;
  readonly switches: SwitchStore;
  /** Is what is said written to the disk at the moment? */
  readonly writing: boolean;
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/** What of this computer a store uses; replaced in tests. */
export interface StoreParts {
  /** Milliseconds since 1970. */
  readonly now: () => number;
  readonly openFile: typeof openStoreFile;
}

export const STORE_FILE = "napcat-vlm.db";
const DAY_MS = 24 * 60 * 60_000;
const HOUR_MS = 60 * 60_000;
/** Pasts that wait for a disk that works again. */
const MAX_OWED = 500;

/** @internal */
export const STORE_SCHEMA = object({
  directory: nonEmptyText(),
  ttlMs: positiveOrInfinite().optional(),
  maxPictureBytes: integer(0).optional(),
  logger: matching<Logger>("a logger with debug, info, warn and error", isLogger).optional(),
});

/**
 * Opens the store of a directory, or makes it. Never fails because of the disk: where nothing can be stored there is a
 * warning, and a store that keeps nothing. A damaged file is moved aside, never removed.
 *
 * @throws {TypeError | RangeError} naming every option that is wrong.
 *
 * @example
 * const store = await openChatStore({ directory: "data" });
 * const bot = installVlm(napcat, { model, store });
 */
export async function openChatStore(
  options: ChatStoreOptions,
  parts: StoreParts = { now: Date.now, openFile: openStoreFile },
): Promise<ChatStore> {
  const store = new FileStore(parseStoreOptions(options), parts);
  await store.open();
  return store;
}

/** @throws {TypeError | RangeError} naming every option that is wrong. */
export function parseStoreOptions(options: ChatStoreOptions): Required<ChatStoreOptions> {
  parseOptions(STORE_SCHEMA, options, "openChatStore");
  return {
    directory: options.directory,
    ttlMs: options.ttlMs ?? 30 * DAY_MS,
    maxPictureBytes: options.maxPictureBytes ?? 512 * 1024 * 1024,
    logger: safeLogger(options.logger ?? DEFAULT_LOGGER),
  };
}

interface Tables {
  readonly database: Database;
  readonly histories: HistoryTables;
  readonly switches: SwitchTable;
}

type Write = (tables: Tables) => void;

class FileStore implements ChatStore {
  readonly #options: Required<ChatStoreOptions>;
  readonly #logger: Logger;
  readonly #now: () => number;
  readonly #openFile: StoreParts["openFile"];
  /** By what they write; the newest of each counts. */
  readonly #owed = new Map<
    string,
    { readonly write: Write; readonly past?: readonly KeptTurn[] }
  >();
  #tables: Tables | undefined;
  #opening: Promise<void> | undefined;
  #closed = false;
  #warned = false;
  #cleanedAt = 0;

  constructor(options: Required<ChatStoreOptions>, { now, openFile }: StoreParts) {
    this.#options = options;
    this.#logger = options.logger;
    this.#now = now;
    this.#openFile = openFile;
  }

  readonly histories: HistoryStore = {
    read: (key) => {
      const owed = this.#owed.get(`history ${key}`);
      if (owed !== undefined) return owed.past;
      return this.#ask(({ histories }) => histories.read(key));
    },
    write: (key, past, picture) =>
      this.#write(`history ${key}`, ({ histories }) => histories.write(key, past, picture), past),
    remove: (key) => this.#write(`history ${key}`, ({ histories }) => histories.remove(key)),
    picture: (hash) => this.#ask(({ histories }) => histories.picture(hash)),
    keysWith: (mark) => {
      const stored = this.#ask(({ histories }) => histories.keysWith(mark)) ?? [];
      const owed = [...this.#owed].filter(([, { past = [] }]) =>
        past.some((turn) => marksOf(turn).includes(mark)),
      );
      return [...stored, ...owed.map(([name]) => name.slice("history ".length))];
    },
  };

  readonly switches: SwitchStore = {
    read: (key) => this.#ask(({ switches }) => switches.read(key)),
    write: (key, value) =>
      this.#write(`switch ${key}`, ({ switches }) => switches.write(key, value)),
  };

  get writing(): boolean {
    return this.#tables !== undefined && this.#owed.size === 0;
  }

  /** Never rejects. */
  open(): Promise<void> {
    this.#opening ??= this.#open().finally(() => {
      this.#opening = undefined;
    });
    return this.#opening;
  }

  async #open(): Promise<void> {
    try {
      const { directory } = this.#options;
      await disk.makeDirectory(directory);
      const path = join(directory, STORE_FILE);
      const { database, movedTo } = await this.#openFile(path, this.#now);
      if (movedTo !== undefined) {
        this.#logger.warn("The stored chats are damaged; a new file was begun.", { movedTo });
      }
      const histories = new HistoryTables(database, { ...this.#options, now: this.#now });
      this.#tables = { database, histories, switches: new SwitchTable(database) };
      this.#clean();
    } catch (error) {
      this.#warn(error);
    }
  }

  async close(): Promise<void> {
    await this.#opening;
    if (this.#closed) return;
    this.#closed = true;
    if (this.#tables === undefined) return;
    try {
      this.#writeOwed(this.#tables);
    } catch (error) {
      this.#warn(error);
    }
    this.#tables.database.close();
    this.#tables = undefined;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  #ask<T>(read: (tables: Tables) => T): T | undefined {
    if (this.#tables === undefined) return undefined;
    try {
      return read(this.#tables);
    } catch (error) {
      this.#trouble(error);
      return undefined;
    }
  }

  /** What was owed before comes first: the order is the order in which it happened. */
  #write(name: string, write: Write, past?: readonly KeptTurn[]): void {
    if (this.#closed) return;
    // Behind what is owed already, were it there.
    this.#owed.delete(name);
    this.#owed.set(name, past === undefined ? { write } : { write, past });
    const [eldest] = this.#owed.keys();
    if (this.#owed.size > MAX_OWED && eldest !== undefined) this.#owed.delete(eldest);
    if (this.#tables === undefined) return;
    try {
      this.#writeOwed(this.#tables);
      this.#clean();
    } catch (error) {
      this.#trouble(error);
    }
  }

  #writeOwed(tables: Tables): void {
    for (const [name, { write }] of this.#owed) {
      try {
        write(tables);
      } catch (error) {
        // What can never be written does not stand in the way of the rest.
        if (error instanceof TypeError) this.#owed.delete(name);
        throw error;
      }
      this.#owed.delete(name);
    }
    if (!this.#warned) return;
    this.#warned = false;
    this.#logger.info("What is said is stored again.");
  }

  /** Without a timer, which would keep a process alive: a store nobody writes to grows no older. */
  #clean(): void {
    // A clock that was set back cleans at once, which is no harm.
    if (this.#tables === undefined || Math.abs(this.#now() - this.#cleanedAt) < HOUR_MS) return;
    this.#cleanedAt = this.#now();
    this.#tables.histories.removeExpired();
  }

  #trouble(error: unknown): void {
    this.#warn(error);
    if (!isDamage(error) || this.#tables === undefined) return;
    // Meanwhile the store keeps what is to be written; a file that is opened again is looked at, and moved aside.
    this.#tables.database.close();
    this.#tables = undefined;
    void this.open();
  }

  /** Once, until it is over. */
  #warn(error: unknown): void {
    if (this.#warned) return;
    this.#warned = true;
    this.#logger.warn("What is said is not stored at the moment; the bot answers on.", {
      directory: this.#options.directory,
      reason: whyNoStore(error),
    });
  }
}
