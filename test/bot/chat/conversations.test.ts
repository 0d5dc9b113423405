import { describe, expect, it } from "vitest";
import type { PastTurn } from "../../../src/bot/chat/conversation.ts";
import { Conversations, type HistoryStore } from "../../../src/bot/chat/conversations.ts";
import { type KeptTurn, marksOf, tokensOfText } from "../../../src/bot/chat/kept-turns.ts";
import { DEFAULT_HISTORY } from "../../../src/bot/chat/responder-options.ts";
import type { TurnPart } from "../../../src/bot/chat/turn.ts";

const chat = "group:7";
const text = (text: string): TurnPart => ({ type: "text", text });
const image = (bytes: number, fill = 0): TurnPart => ({
  type: "image",
  data: new Uint8Array(bytes).fill(fill),
});
const asked = (turn: Partial<PastTurn>): PastTurn => ({ parts: [], answer: "", chat, ...turn });
const conversations = (limits: Partial<typeof DEFAULT_HISTORY>, store?: HistoryStore) =>
  new Conversations({ ...DEFAULT_HISTORY, ...limits }, "[旧图]", store);

/** A store without a disk. */
class MapStore implements HistoryStore {
  readonly pasts = new Map<string, readonly KeptTurn[]>();
  readonly pictures = new Map<string, Uint8Array>();

  read(key: string): readonly KeptTurn[] | undefined {
    return this.pasts.get(key);
  }

  write(
    key: string,
    past: readonly KeptTurn[],
    picture: (hash: string) => Uint8Array | undefined,
  ): void {
    this.pasts.set(key, past);
    for (const part of past.flatMap(({ parts }) => parts)) {
      if (part.type === "picture") this.pictures.set(part.hash, picture(part.hash)!);
    }
  }

  remove(key: string): void {
    this.pasts.delete(key);
  }

  picture(hash: string): Uint8Array | undefined {
    return this.pictures.get(hash);
  }

  keysWith(mark: string): readonly string[] {
    const found = [...this.pasts].filter(([, past]) =>
      past.some((turn) => marksOf(turn).includes(mark)),
    );
    return found.map(([key]) => key);
  }
}

describe("Conversations", () => {
  it("keeps at most so many turns, and drops a quarter at once so that the beginning stays", () => {
    const memory = conversations({ maxTurns: 8 });
    const firsts: (string | undefined)[] = [];
    for (let turn = 1; turn <= 12; turn++) {
      memory.remember(chat, { parts: [text("问")], answer: `${turn}` });
      expect(memory.past(chat).length).toBeLessThanOrEqual(8);
      firsts.push(memory.past(chat)[0]?.answer);
    }
    expect(firsts).toEqual([...Array(8).fill("1"), "4", "4", "4", "7"]);
  });

  it("keeps at most so many tokens of text, and drops a quarter at once", () => {
    const memory = conversations({ maxTurns: 100, maxTokens: 1000 });
    const kept: number[] = [];
    for (let turn = 1; turn <= 12; turn++) {
      memory.remember(chat, asked({ parts: [text("图".repeat(90))], answer: `${turn}` }));
      kept.push(memory.past(chat).length);
    }
    // 90 characters, an answer, and what stands around a turn: 101 tokens each.
    expect(kept).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 9, 7, 8, 9]);
    expect(tokensOfText("图片picture")).toBe(5);
    memory.remember(chat, asked({ parts: [text("图".repeat(2000))] }));
    expect(memory.past(chat)).toEqual([]);
  });

  it("forgets what was made of a message of one chat, wherever it is kept, and the rest stays", () => {
    const memory = conversations({});
    memory.remember(chat, asked({ parts: [text("一")], answer: "1", messageIds: ["5", "6"] }));
    memory.remember("person:1", asked({ answer: "2", messageIds: ["6"] }));
    memory.remember("person:1", asked({ answer: "3", messageIds: ["6"], chat: "group:8" }));
    memory.remember(chat, asked({ parts: [text("二")], answer: "4", messageIds: ["7"] }));
    expect([...memory.forgetMessage(chat, "6").keys()].sort()).toEqual([chat, "person:1"]);
    expect(memory.forgetMessage(chat, "8").size).toBe(0);
    expect(memory.past(chat).map(({ answer }) => answer)).toEqual(["4"]);
    expect(memory.past("person:1").map(({ answer }) => answer)).toEqual(["3"]);
    memory.forgetMessage(chat, "7");
    expect(memory.size.chats).toBe(1);
  });

  it("forgets what a person asked, in any chat, and what anybody asked in a chat", () => {
    const memory = conversations({});
    memory.remember(chat, asked({ answer: "1", sender: "1" }));
    memory.remember(chat, asked({ answer: "2", sender: "2" }));
    memory.remember("group:8", asked({ answer: "3", sender: "1", chat: "group:8" }));
    memory.forgetPerson("1");
    expect(memory.past(chat).map(({ answer }) => answer)).toEqual(["2"]);
    expect(memory.past("group:8")).toEqual([]);
    memory.forgetChat(chat);
    expect(memory.size).toEqual({ chats: 0, bytes: 0 });
  });

  it("keeps the same picture once, and forgets its bytes with the last turn that has it", () => {
    const memory = conversations({});
    const picture = image(10_000);
    memory.remember(chat, asked({ parts: [picture], messageIds: ["1"] }));
    memory.remember(
      "group:8",
      asked({ parts: [image(10_000)], messageIds: ["2"], chat: "group:8" }),
    );
    expect(memory.size.bytes).toBeLessThan(11_000);
    memory.forgetMessage(chat, "1");
    expect(memory.past("group:8")[0]?.parts).toEqual([picture]);
    memory.forgetMessage("group:8", "2");
    expect(memory.size.bytes).toBe(0);
  });

  it("keeps what a store holds in step, and asks it for what is not in memory", () => {
    const store = new MapStore();
    const before = conversations({}, store);
    before.remember(chat, asked({ parts: [text("一"), image(9)], answer: "1", messageIds: ["5"] }));
    const after = conversations({}, store);
    expect(after.past(chat)).toMatchObject([{ answer: "1", parts: [text("一"), image(9)] }]);
    after.remember(chat, asked({ parts: [text("二")], answer: "2" }));
    expect(store.pasts.get(chat)).toHaveLength(2);
    const later = conversations({}, store);
    later.forgetMessage(chat, "5");
    expect(store.pasts.get(chat)).toHaveLength(1);
    later.forget(chat);
    expect(store.pasts.size).toBe(0);
  });

  it("keeps nothing at all when told so", () => {
    const memory = conversations({ maxTurns: 0 });
    memory.remember(chat, { parts: [text("问")], answer: "答" });
    expect(memory.past(chat)).toEqual([]);
  });

  it("keeps the newest pictures and puts a note in place of older ones", () => {
    const memory = conversations({ maxImages: 2 });
    memory.remember(chat, { parts: [image(1), image(2)], answer: "一" });
    memory.remember(chat, { parts: [image(3)], answer: "二" });
    const note = { type: "note", text: "[旧图]", replaces: "image" };
    expect(memory.past(chat).map(({ parts }) => parts)).toEqual([[note, image(2)], [image(3)]]);
  });

  it("puts notes in place of a quarter of the pictures at once, so that what was computed stays of use", () => {
    const memory = conversations({ maxImages: 8 });
    const kept = Array.from({ length: 14 }, (_, index) => {
      memory.remember(chat, { parts: [image(index + 1)], answer: "好" });
      return memory.past(chat).filter(({ parts }) => parts[0]?.type === "image").length;
    });
    expect(kept).toEqual([1, 2, 3, 4, 5, 6, 7, 8, 6, 7, 8, 6, 7, 8]);
  });

  it("keeps so many bytes of pictures", () => {
    const memory = conversations({ maxImageBytes: 100 });
    memory.remember(chat, { parts: [image(60), image(30)], answer: "一" });
    memory.remember(chat, { parts: [image(50)], answer: "二" });
    const kept = memory.past(chat).flatMap(({ parts }) => parts.map(({ type }) => type));
    expect(kept).toEqual(["note", "image", "image"]);
  });

  it("forgets the chat that was silent for longest, by number and by bytes of text", () => {
    const few = conversations({ maxChats: 2 });
    const small = conversations({ maxTotalBytes: 2000 });
    for (const memory of [few, small]) {
      for (const key of ["group:1", "group:2", "group:3"]) {
        memory.remember(key, asked({ answer: "a".repeat(100) }));
      }
      expect(memory.past("group:1")).toEqual([]);
      expect(memory.past("group:3")).toHaveLength(1);
      expect(memory.size.chats).toBe(2);
      expect(memory.size.bytes).toBeLessThanOrEqual(2000);
    }
  });

  it("puts a note in place of pictures that all chats together have no room for", () => {
    const memory = conversations({ maxTotalBytes: 4000 });
    for (const key of ["group:1", "group:2", "group:3"]) {
      memory.remember(key, asked({ parts: [image(1200, Number(key.at(-1)))] }));
    }
    const note = { type: "note", text: "[旧图]", replaces: "image" };
    expect(memory.past("group:1")[0]?.parts).toEqual([note]);
    expect(memory.past("group:3")[0]?.parts).toEqual([image(1200, 3)]);
    expect(memory.size.bytes).toBeLessThanOrEqual(4000);
  });

  it("keeps a thousand chats with pictures within their bytes", () => {
    const memory = conversations({ maxTotalBytes: 8 * 1024 * 1024 });
    for (let key = 0; key < 1000; key++) {
      for (let turn = 0; turn < 5; turn++) {
        const data = new Uint8Array(20_000);
        new DataView(data.buffer).setUint32(0, key * 5 + turn);
        memory.remember(`group:${key}`, asked({ parts: [{ type: "image", data }] }));
      }
    }
    expect(memory.size.bytes).toBeLessThanOrEqual(8 * 1024 * 1024);
    expect(memory.size.chats).toBe(DEFAULT_HISTORY.maxChats);
  });
});
