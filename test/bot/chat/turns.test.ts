import { describe, expect, it } from "vitest";
import { TurnQueue } from "../../../src/bot/chat/turns.ts";
import { QueueFullError } from "../../../src/vlm/index.ts";

const chat = (id: number) => ({ kind: "group", id: String(id) }) as const;

/** Has this place been reached by now? */
async function reached(place: { reached(): Promise<void> }): Promise<boolean> {
  const pending = Symbol();
  await new Promise(setImmediate);
  return (await Promise.race([place.reached(), Promise.resolve(pending)])) !== pending;
}

describe("TurnQueue", () => {
  it("lets one turn of a chat run at a time, in the order they joined", async () => {
    const queue = new TurnQueue({ maxWaiting: 9, maxWaitingPerChat: 9 });
    const places = [1, 2, 3].map(() => queue.join(chat(1)));
    const running = async () => (await Promise.all(places.map(reached))).filter(Boolean).length;
    expect(await running()).toBe(1);
    places[0]?.leave();
    expect(await running()).toBe(2);
    expect(queue.waiting).toBe(1);
  });

  it("counts who waits, whoever leaves and however often, for any order of events", () => {
    const queue = new TurnQueue({ maxWaiting: 1000, maxWaitingPerChat: 1000 });
    const lines = new Map<number, { leave(): void }[]>();
    // A small linear congruential generator: the same events on every run.
    let seed = 7;
    const random = (below: number) => {
      seed = (seed * 1103515245 + 12345) % 2 ** 31;
      return Math.floor((seed / 2 ** 31) * below);
    };
    for (let step = 0; step < 2000; step++) {
      const id = random(4);
      const line = lines.get(id) ?? [];
      lines.set(id, line);
      if (random(2) === 0) line.push(queue.join(chat(id)));
      else {
        const [left] = line.splice(random(line.length), 1);
        left?.leave();
        left?.leave();
      }
      const expected = [...lines.values()].reduce(
        (sum, { length }) => sum + Math.max(0, length - 1),
        0,
      );
      expect(queue.waiting).toBe(expected);
    }
  });

  it("refuses what is too much for one chat, or for all", () => {
    const queue = new TurnQueue({ maxWaiting: 3, maxWaitingPerChat: 2 });
    const first = queue.join(chat(1));
    queue.join(chat(1));
    queue.join(chat(1));
    expect(() => queue.join(chat(1))).toThrow(QueueFullError);
    queue.join(chat(2));
    queue.join(chat(2));
    expect(() => queue.join(chat(2))).toThrow(QueueFullError);
    queue.join(chat(3));
    first.leave();
    queue.join(chat(2));
  });

  it("stops waiting when aborted, and keeps no listener", async () => {
    const queue = new TurnQueue({ maxWaiting: 9, maxWaitingPerChat: 9 });
    queue.join(chat(1));
    const second = queue.join(chat(1));
    const controller = new AbortController();
    const waiting = second.reached(controller.signal);
    controller.abort("recalled");
    await expect(waiting).rejects.toBe("recalled");
    second.leave();
    expect(queue.waiting).toBe(0);
  });
});
