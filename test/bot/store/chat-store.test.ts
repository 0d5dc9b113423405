// The store on a real disk, and on disks that are damaged, full, read-only or somebody else's.

import { randomBytes } from "node:crypto";
import { chmod, mkdir, readdir, readFile, stat, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import { type KeptTurn, mark, pictureHash } from "../../../src/bot/chat/kept-turns.ts";
import { type ChatStore, openChatStore, STORE_FILE } from "../../../src/bot/store/chat-store.ts";
import { type Database, openDatabase } from "../../../src/bot/store/database.ts";
import { SCHEMA_VERSION } from "../../../src/bot/store/schema.ts";
import { openStoreFile } from "../../../src/bot/store/store-file.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";
import { tempDir } from "../../support/temp-dir.ts";

const root = await tempDir();
const DAY_MS = 86_400_000;

let directory: string;
let logger: RecordingLogger;
let now: number;
/** The one behind the store that was opened last. */
let database: Database;
let number = 0;
beforeEach(() => {
  directory = join(root, `${number++}`);
  logger = new RecordingLogger();
  now = Date.now();
});

const open = (options: object = {}) =>
  openChatStore(
    { directory, logger, ...options },
    {
      now: () => now,
      openFile: async (...args) => {
        const opened = await openStoreFile(...args);
        database = opened.database;
        return opened;
      },
    },
  );

/** Opens the store, does something, closes it. */
async function withStore<T>(work: (store: ChatStore) => T, options: object = {}): Promise<T> {
  const store = await open(options);
  try {
    return work(store);
  } finally {
    await store.close();
  }
}

const pictures = new Map<string, Uint8Array>();

function picture(bytes: number): { readonly hash: string; readonly bytes: number } {
  const data = randomBytes(bytes);
  const hash = pictureHash(data);
  pictures.set(hash, data);
  return { hash, bytes };
}

const bytesOf = (hash: string) => pictures.get(hash);

const turn = (answer: string, rest: Partial<KeptTurn> = {}): KeptTurn => ({
  parts: [{ type: "text", text: "问" }],
  answer,
  chat: "group:7",
  sender: "1",
  ...rest,
});

async function fileHolds(text: string): Promise<boolean> {
  const names = await readdir(directory);
  const files = await Promise.all(names.map((name) => readFile(join(directory, name))));
  return files.some((file) => file.includes(text));
}

describe("openChatStore", () => {
  it("keeps pasts and their pictures over a restart", async () => {
    const { hash, bytes } = picture(5000);
    const past = [
      turn("一", {
        parts: [
          { type: "picture", hash, bytes },
          { type: "note", text: "[旧图]", replaces: "image" },
        ],
        messageIds: ["5"],
        names: ["张三"],
        firstPicture: 3,
      }),
      turn("带\u0000零和 emoji 😀"),
    ];
    await withStore(({ histories }) => histories.write("group:7", past, bytesOf));
    await withStore(({ histories }) => {
      expect(histories.read("group:7")).toEqual(past);
      expect(Buffer.from(histories.picture(hash)!).equals(pictures.get(hash)!)).toBe(true);
      expect(histories.read("group:8")).toBeUndefined();
      expect(histories.keysWith(mark.message("group:7", "5"))).toEqual(["group:7"]);
      expect(histories.keysWith(mark.person("1"))).toEqual(["group:7"]);
      expect(histories.keysWith(mark.person("2"))).toEqual([]);
    });
    expect(logger.lines).toEqual([]);
  });

  it("leaves nothing of what was forgotten in any file", async () => {
    const secret = "绝密的话";
    const store = await open();
    const { hash, bytes } = picture(5000);
    const parts = [
      { type: "text", text: secret },
      { type: "picture", hash, bytes },
    ] as const;
    store.histories.write("group:7", [turn("一"), turn("二", { parts })], bytesOf);
    expect(await fileHolds(secret)).toBe(true);
    store.histories.write("group:7", [turn("一")], bytesOf);
    expect(await fileHolds(secret)).toBe(false);
    expect(store.histories.picture(hash)).toBeUndefined();

    store.histories.write("group:7", [turn("一"), turn("二", { parts })], bytesOf);
    store.histories.remove("group:7");
    expect(await fileHolds(secret)).toBe(false);
    await store.close();
    expect(await fileHolds(secret)).toBe(false);
  });

  it("keeps a picture for as long as any past has it", async () => {
    const { hash, bytes } = picture(100);
    const parts = [{ type: "picture", hash, bytes }] as const;
    await withStore(({ histories }) => {
      histories.write("group:7", [turn("一", { parts })], bytesOf);
      histories.write("group:8", [turn("一", { parts })], () => undefined);
      histories.remove("group:7");
      expect(histories.picture(hash)).toBeDefined();
      histories.remove("group:8");
      expect(histories.picture(hash)).toBeUndefined();
    });
  });

  it("keeps so many bytes of pictures, those that were used last", async () => {
    const kept = Array.from({ length: 5 }, () => picture(1000));
    await withStore(
      ({ histories }) => {
        for (const [index, { hash, bytes }] of kept.entries()) {
          now += 1000;
          const past = [turn("", { parts: [{ type: "picture", hash, bytes }] })];
          histories.write(`group:${index}`, past, bytesOf);
        }
        const there = kept.map(({ hash }) => histories.picture(hash) !== undefined);
        expect(there).toEqual([false, false, true, true, true]);
      },
      { maxPictureBytes: 3500 },
    );
  });

  it("forgets what nobody added to for too long, also while it is open", async () => {
    const store = await open({ ttlMs: 2 * DAY_MS });
    store.histories.write("group:1", [turn("旧事")], bytesOf);
    now += DAY_MS;
    store.histories.write("group:2", [turn("二")], bytesOf);
    now += 1.5 * DAY_MS;
    expect(store.histories.read("group:1")).toBeUndefined();
    store.histories.write("group:3", [turn("三")], bytesOf);
    expect(await fileHolds("旧事")).toBe(false);
    expect(store.histories.read("group:2")).toBeDefined();
    // A clock that is set back forgets nothing.
    now -= DAY_MS;
    expect(store.histories.read("group:3")).toBeDefined();
    await store.close();
  });

  it("keeps what people changed about chats", async () => {
    const changed = { access: "deny", mutedUntilMs: Infinity, persona: "海盗" } as const;
    await withStore(({ switches }) => {
      switches.write("group:7", changed);
      switches.write("group:8", { mutedUntilMs: 5 });
    });
    await withStore(({ switches }) => {
      expect(switches.read("group:7")).toEqual(changed);
      expect(switches.read("group:8")).toEqual({ mutedUntilMs: 5 });
      expect(switches.read("group:9")).toBeUndefined();
    });
  });

  it("moves a damaged file aside, says where, and begins a new one", async () => {
    await mkdir(directory);
    await writeFile(join(directory, STORE_FILE), "这不是数据库".repeat(500));
    await withStore(({ histories }) => {
      histories.write("group:7", [turn("一")], bytesOf);
      expect(histories.read("group:7")).toHaveLength(1);
    });
    const [aside] = (await readdir(directory)).filter((name) => name.includes(".damaged-"));
    expect(await readFile(join(directory, aside!), "utf8")).toContain("这不是数据库");
    expect(logger.lines).toMatchObject([
      { level: "warn", facts: { movedTo: join(directory, aside!) } },
    ]);
  });

  it("moves aside a file with damage in its middle", async () => {
    await withStore(({ histories }) => {
      for (let key = 0; key < 200; key++) {
        histories.write(`group:${key}`, [turn("字".repeat(500))], bytesOf);
      }
    });
    const path = join(directory, STORE_FILE);
    const bytes = await readFile(path);
    bytes.fill(0xa5, 8192, bytes.length - 4096);
    await writeFile(path, bytes);
    await withStore(({ histories, writing }) => {
      expect(writing).toBe(true);
      expect(histories.read("group:1")).toBeUndefined();
    });
    expect((await readdir(directory)).some((name) => name.includes(".damaged-"))).toBe(true);
  });

  it("leaves the file of a newer version alone, and says so once", async () => {
    await withStore(({ histories }) => histories.write("group:7", [turn("一")], bytesOf));
    const later = await openDatabase(join(directory, STORE_FILE));
    later.execute(`PRAGMA user_version = ${SCHEMA_VERSION + 1}`);
    later.close();
    await withStore((store) => {
      expect(store.writing).toBe(false);
      store.histories.write("group:7", [turn("二")], bytesOf);
      // Until the disk can be written, memory holds it.
      expect(store.histories.read("group:7")).toMatchObject([{ answer: "二" }]);
      store.histories.remove("group:7");
      expect(store.histories.read("group:7")).toBeUndefined();
    });
    expect(logger.at("warn")).toHaveLength(1);
    expect(logger.lines[0]?.facts?.reason).toContain(`version ${SCHEMA_VERSION + 1}`);
    expect(await fileHolds("一")).toBe(true);
  });

  it("tells a second bot that the directory is taken", async () => {
    const first = await open();
    first.histories.write("group:7", [turn("一")], bytesOf);
    await withStore(({ writing }) => expect(writing).toBe(false));
    expect(logger.lines[0]?.facts?.reason).toBe("another bot uses the same directory");
    await first.close();
    await withStore(({ histories }) => expect(histories.read("group:7")).toHaveLength(1));
  });

  it("goes on without a directory", async () => {
    await writeFile(directory, "a file is in the way");
    await withStore(({ histories, writing }) => {
      expect(writing).toBe(false);
      for (let key = 0; key < 600; key++) histories.write(`group:${key}`, [turn("一")], bytesOf);
      expect(histories.read("group:599")).toHaveLength(1);
    });
    expect(logger.at("warn")).toHaveLength(1);
  });

  it.skipIf(process.platform === "win32" || process.getuid?.() === 0)(
    "goes on in a directory that cannot be written",
    async () => {
      await mkdir(directory);
      await chmod(directory, 0o500);
      await withStore(({ histories }) => histories.write("group:7", [turn("一")], bytesOf));
      expect(logger.at("warn")).toHaveLength(1);
    },
  );

  it("writes what it owes once a full disk has room again, and warns once", async () => {
    const store = await open();
    store.histories.write("group:1", [turn("一")], bytesOf);
    const pages = Number(database.rows("PRAGMA page_count", [])[0]?.page_count);
    database.rows(`PRAGMA max_page_count = ${pages}`, []);
    const long = "长".repeat(20_000);
    store.histories.write("group:2", [turn(long)], bytesOf);
    store.histories.write("group:2", [turn(long), turn("二")], bytesOf);
    store.histories.write("group:3", [turn(long)], bytesOf);
    expect(store.writing).toBe(false);
    expect(store.histories.read("group:2")).toHaveLength(2);
    expect(store.histories.keysWith(mark.person("1"))).toEqual(["group:1", "group:2", "group:3"]);
    expect(logger.lines).toMatchObject([{ level: "warn", facts: { reason: "the disk is full" } }]);

    database.rows("PRAGMA max_page_count = 100000", []);
    store.histories.write("group:4", [turn("四")], bytesOf);
    expect(store.writing).toBe(true);
    expect(logger.at("warn")).toHaveLength(1);
    expect(logger.at("info")).toHaveLength(1);
    await store.close();
    await withStore(({ histories }) => {
      expect(histories.read("group:2")).toHaveLength(2);
      expect(histories.read("group:4")).toHaveLength(1);
    });
  });

  it("leaves out what can never be stored, says why, and stores what comes after it", async () => {
    await withStore(({ histories }) => {
      histories.write("group:\0", [turn("零")], bytesOf);
      histories.write("group:7", [turn("一")], bytesOf);
    });
    expect(logger.lines.map(({ facts }) => facts?.reason)).toEqual([
      "something in it cannot be stored",
      undefined,
    ]);
    await withStore(({ histories }) => {
      expect(histories.read("group:7")).toHaveLength(1);
      expect(histories.keysWith(mark.person("1"))).toEqual(["group:7"]);
    });
  });

  it("keeps chats for ever where nothing ends them", async () => {
    const store = await open({ ttlMs: Infinity });
    store.histories.write("group:1", [turn("旧事")], bytesOf);
    now += 10_000 * DAY_MS;
    expect(store.histories.read("group:1")).toHaveLength(1);
    await store.close();
  });

  it("refuses options that are wrong", async () => {
    await expect(openChatStore({ directory: "", ttlMs: 0 })).rejects.toThrow(
      /`directory`.*\n.*`ttlMs`/u,
    );
  });

  it("ends once, and writes nothing after its end", async () => {
    const store = await open();
    await store.close();
    await store.close();
    store.histories.write("group:7", [turn("一")], bytesOf);
    await withStore(({ histories }) => expect(histories.read("group:7")).toBeUndefined());
    expect((await stat(join(directory, STORE_FILE))).size).toBeGreaterThan(0);
  });
});
