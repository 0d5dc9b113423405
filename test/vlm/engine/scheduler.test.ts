import { describe, expect, it } from "vitest";
import { Scheduler } from "../../../src/vlm/engine/scheduler.ts";
import { DisposedError, QueueFullError } from "../../../src/vlm/errors.ts";

const never = new AbortController().signal;

describe("Scheduler", () => {
  it("gives one turn at a time, in the order of asking", async () => {
    const scheduler = new Scheduler(8);
    const order: string[] = [];
    const first = await scheduler.enter(never);
    const second = scheduler.enter(never).then((release) => {
      order.push("second");
      return release;
    });
    const third = scheduler.enter(never).then((release) => {
      order.push("third");
      return release;
    });
    await Promise.resolve();
    expect(order).toEqual([]);
    first();
    first(); // a second call must not let the third in beside the second
    const releaseSecond = await second;
    expect(order).toEqual(["second"]);
    releaseSecond();
    (await third)();
    expect(order).toEqual(["second", "third"]);
    expect(scheduler.waiting).toBe(0);
  });

  it("refuses more waiting requests than its bound", async () => {
    const scheduler = new Scheduler(1);
    const release = await scheduler.enter(never);
    const waiting = scheduler.enter(never);
    await expect(scheduler.enter(never)).rejects.toBeInstanceOf(QueueFullError);
    release();
    (await waiting)();
  });

  it("lets a waiting request leave with its signal's reason, and nobody else", async () => {
    const scheduler = new Scheduler(8);
    const release = await scheduler.enter(never);
    const controller = new AbortController();
    const leaving = scheduler.enter(controller.signal);
    const staying = scheduler.enter(never);
    controller.abort("changed my mind");
    await expect(leaving).rejects.toBe("changed my mind");
    release();
    (await staying)();
    (await scheduler.enter(never))();
  });

  it("sends the waiting away when it closes and waits for the running turn", async () => {
    const scheduler = new Scheduler(8);
    const release = await scheduler.enter(never);
    const waiting = scheduler.enter(never);
    let closed = 0;
    const closing = [scheduler.close(), scheduler.close()].map((close) =>
      close.then(() => closed++),
    );
    await expect(waiting).rejects.toBeInstanceOf(DisposedError);
    expect(closed).toBe(0);
    release();
    await Promise.all(closing);
    await expect(scheduler.enter(never)).rejects.toBeInstanceOf(DisposedError);
    await scheduler.close();
  });
});
