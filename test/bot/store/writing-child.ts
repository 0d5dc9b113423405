// A process that stores past after past until it is killed, and says which it has stored. For kill.test.ts.

import { createHash } from "node:crypto";
import { openChatStore } from "../../../src/bot/store/chat-store.ts";

const [directory = ""] = process.argv.slice(2);
const store = await openChatStore({ directory });
for (let round = 1; round <= 100; round++) {
  // What each turn is made of is known from its number, so that the reader can check all of it.
  const turns = Array.from({ length: round }, (_, number) => {
    const data = Buffer.alloc(20_000, number);
    const hash = createHash("sha256").update(data).digest("hex");
    return { data, hash };
  });
  const byHash = new Map(turns.map(({ hash, data }) => [hash, data]));
  store.histories.write(
    "group:7",
    turns.map(({ hash, data }, number) => ({
      parts: [{ type: "picture", hash, bytes: data.byteLength }],
      answer: `${number}`,
      chat: "group:7",
    })),
    (hash) => byHash.get(hash),
  );
  process.stdout.write(`${round}\n`);
}
