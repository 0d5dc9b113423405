import { describe, expect, it, vi } from "vitest";
import { WaitingLine } from "../../../src/vlm/engine/waiting-line.ts";
import { QueueFullError } from "../../../src/vlm/errors.ts";

const waiter = (name: string, chat?: string, priority = 0) => ({ name, chat, priority });

function order(line: WaitingLine<ReturnType<typeof waiter>>, served: ReturnType<typeof waiter>[]) {
  const names: string[] = [];
  for (let next = line.take(served); next; next = line.take(served)) {
    names.push(next.name);
    served.push(next);
  }
  return names;
}

describe("WaitingLine", () => {
  it("serves in the order of coming when all are equal", () => {
    const line = new WaitingLine<ReturnType<typeof waiter>>(9);
    for (const name of ["a", "b", "c"]) line.add(waiter(name));
    expect(order(line, [])).toEqual(["a", "b", "c"]);
    expect(line.length).toBe(0);
  });

  it("serves higher priority first", () => {
    const line = new WaitingLine<ReturnType<typeof waiter>>(9);
    line.add(waiter("low", undefined, -1));
    line.add(waiter("first"));
    line.add(waiter("high", undefined, 5));
    line.add(waiter("second"));
    expect(order(line, [])).toEqual(["high", "first", "second", "low"]);
  });

  it("lets chats take turns, whoever of them has more questions", () => {
    const line = new WaitingLine<ReturnType<typeof waiter>>(9);
    for (const name of ["a1", "a2", "a3"]) line.add(waiter(name, "a"));
    line.add(waiter("b1", "b"));
    line.add(waiter("alone"));
    expect(order(line, [waiter("a0", "a")])).toEqual(["b1", "alone", "a1", "a2", "a3"]);
  });

  it("remembers who had the last turn when nobody is being served", () => {
    const line = new WaitingLine<ReturnType<typeof waiter>>(9);
    for (const name of ["a1", "a2"]) line.add(waiter(name, "a"));
    line.add(waiter("b1", "b"));
    expect(line.take([])?.name).toBe("a1");
    expect(line.take([])?.name).toBe("b1");
    expect(line.take([])?.name).toBe("a2");
  });

  it("refuses whoever would have to wait behind as many as may wait", () => {
    const line = new WaitingLine<ReturnType<typeof waiter>>(1);
    line.expectRoom(1);
    line.add(waiter("served at once"));
    line.expectRoom(1);
    line.add(waiter("waiting"));
    expect(() => line.expectRoom(1)).toThrow(QueueFullError);
    expect(() => line.expectRoom(1)).toThrow("1 requests are waiting already and the limit is 1");
    line.expectRoom(3);
    const none = new WaitingLine<ReturnType<typeof waiter>>(0);
    none.expectRoom(1);
    expect(() => none.expectRoom(0)).toThrow(QueueFullError);
  });

  it("tells the waiting where they stand, once for every change", () => {
    const line = new WaitingLine<{ chat: undefined; priority: number; onQueue: () => void }>(9);
    const [first, second, third] = [0, 0, 7].map((priority) => ({
      chat: undefined,
      priority,
      onQueue: vi.fn(),
    }));
    line.add(first!);
    line.add(second!);
    line.announce([]);
    line.announce([]);
    expect(first!.onQueue.mock.calls).toEqual([[1]]);
    expect(second!.onQueue.mock.calls).toEqual([[2]]);
    line.add(third!);
    line.announce([]);
    expect(second!.onQueue).toHaveBeenLastCalledWith(3);
    expect(line.take([])).toBe(third);
    expect(third!.onQueue.mock.calls).toEqual([[1], [0]]);
    line.remove(first!);
    line.announce([]);
    expect(second!.onQueue).toHaveBeenLastCalledWith(1);
    expect(line.remove(first!)).toBe(false);
  });
});
