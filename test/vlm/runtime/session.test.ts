import { getEventListeners } from "node:events";
import { readdirSync } from "node:fs";
import { writeFile } from "node:fs/promises";
import { getPriority } from "node:os";
import { join } from "node:path";
import { afterAll, beforeAll, describe, expect, it } from "vitest";
import { DisposedError } from "../../../src/vlm/errors.ts";
import { Session } from "../../../src/vlm/runtime/session.ts";
import { Value } from "../../../src/vlm/runtime/value.ts";
import { type GraphDirectory, writeGraphs } from "./small-graphs.ts";

let graphs: GraphDirectory;
let increment: Session;
let heavy: Session;

beforeAll(async () => {
  graphs = await writeGraphs();
  increment = await Session.load(graphs.path("increment"));
  heavy = await Session.load(graphs.path("heavy"));
});

afterAll(async () => {
  await increment.dispose();
  await heavy.dispose();
  await graphs.remove();
});

const index = () => Value.of(BigInt64Array.of(5n), [1]);
const vector = (...numbers: number[]) => Value.of(Float32Array.from(numbers), [numbers.length]);

/** A run that takes long enough to be interrupted; `product` stays untouched until its last operator. */
function heavyRun(session: Session, signal?: AbortSignal) {
  const size = 256;
  const x = Value.of(new Float32Array(size * size).fill(0.01), [size, size]); // (256, 256)
  const product = new Float32Array(size * size).fill(-1); // (256, 256)
  const output = Value.of(product, [size, size]);
  return { product, x, output, ended: session.run({ x }, { product: output }, { signal }) };
}

const oneTick = () => new Promise((resolve) => setImmediate(resolve));

describe("Session.run", () => {
  it("writes outputs into the values they are bound to", async () => {
    const y = new Float32Array(3);
    await increment.run({ x: vector(1, 2, 3), index: index() }, { y: Value.of(y, [3]) });
    expect([...y]).toEqual([2, 3, 4]);
  });

  it("computes only the outputs that are asked for", async () => {
    const same = new BigInt64Array(1);
    await increment.run({ x: vector(1), index: index() }, { same: Value.of(same, [1]) });
    expect(same[0]).toBe(5n);
  });

  it("keeps concurrent runs apart", async () => {
    const results = await Promise.all(
      Array.from({ length: 40 }, async (_, start) => {
        const y = new Float32Array(2);
        await increment.run({ x: vector(start, -start), index: index() }, { y: Value.of(y, [2]) });
        return [...y];
      }),
    );
    expect(results).toEqual(Array.from({ length: 40 }, (_, start) => [start + 1, 1 - start]));
  });

  it("leaves the event loop free", async () => {
    const { ended } = heavyRun(heavy);
    let running = true;
    const stopped = ended.then(() => {
      running = false;
    });
    let ticks = 0;
    while (running) {
      await oneTick();
      ticks++;
    }
    await stopped;
    // A run that blocked the loop would let one or two ticks through.
    expect(ticks).toBeGreaterThan(20);
  });

  it("names the input that is missing, unknown, or of another type or shape", async () => {
    const y = Value.of(new Float32Array(3), [3]);
    const x = vector(1, 2, 3);
    const run = (inputs: Record<string, Value>, outputs: Record<string, Value> = { y }) =>
      increment.run(inputs, outputs);
    await expect(run({ x })).rejects.toThrow("increment.onnx wants an input `index`");
    await expect(run({ x, index: index(), z: x })).rejects.toThrow("has no input `z`");
    await expect(run({ x: index(), index: index() })).rejects.toThrow(
      "Expected input `x` of increment.onnx to be f32 [N], got i64 [1]",
    );
    await expect(run({ x: Value.of(new Float32Array(4), [2, 2]), index: index() })).rejects.toThrow(
      "Expected input `x` of increment.onnx to be f32 [N], got f32 [2, 2]",
    );
    await expect(run({ x, index: Value.of(new BigInt64Array(2), [2]) })).rejects.toThrow(
      "Expected input `index` of increment.onnx to be i64 [1], got i64 [2]",
    );
    await expect(run({ x, index: index() }, { w: y })).rejects.toThrow("has no output `w`");
    // The graph alone knows that y is as long as x.
    await expect(run({ x: vector(1), index: index() })).rejects.toMatchObject({
      name: "OrtError",
      code: "invalid-argument",
      message: expect.stringContaining("'y'"),
    });
    await run({ x, index: index() });
  });
});

describe("aborting a run", () => {
  it("rejects at once with the reason when the signal is aborted already", async () => {
    const reason = new Error("too late");
    const { ended, product } = heavyRun(heavy, AbortSignal.abort(reason));
    await expect(ended).rejects.toBe(reason);
    expect(product[0]).toBe(-1);
  });

  it("stops a run in progress, with the reason, and leaves the session usable", async () => {
    const controller = new AbortController();
    const reason = new Error("never mind");
    const { ended, product } = heavyRun(heavy, controller.signal);
    await oneTick();
    controller.abort(reason);
    await expect(ended).rejects.toBe(reason);
    // The last operator, which alone writes here, was never reached.
    expect(product.every((value) => value === -1)).toBe(true);

    const again = heavyRun(heavy);
    await again.ended;
    expect(again.product[0]).toBeGreaterThanOrEqual(0);
  });

  it("stops one run and not its neighbour", async () => {
    const controller = new AbortController();
    const stopped = heavyRun(heavy, controller.signal);
    const other = heavyRun(heavy, new AbortController().signal);
    await oneTick();
    controller.abort(new Error("only this one"));
    await expect(stopped.ended).rejects.toThrow("only this one");
    await other.ended;
    expect(other.product[0]).not.toBe(-1);
  });

  it("removes its listener, however the run ends", async () => {
    const { signal } = new AbortController();
    await heavyRun(heavy, signal).ended;
    const misfit = Value.of(new Float32Array(4), [2, 2]);
    await expect(
      heavy.run({ x: misfit }, { product: Value.of(new Float32Array(9), [3, 3]) }, { signal }),
    ).rejects.toThrow();
    expect(getEventListeners(signal, "abort")).toHaveLength(0);
  });
});

describe("Session.dispose", () => {
  it("waits for runs in progress, refuses new ones, and may be called again", async () => {
    const session = await Session.load(graphs.path("heavy"));
    const order: string[] = [];
    const { ended, product } = heavyRun(session);
    const run = ended.then(() => order.push("run"));
    const disposal = session.dispose().then(() => order.push("dispose"));
    await expect(heavyRun(session).ended).rejects.toBeInstanceOf(DisposedError);
    expect(() => session.allocate("f32", [1])).toThrow(DisposedError);
    await Promise.all([run, disposal, session.dispose()]);
    expect(order).toEqual(["run", "dispose"]);
    expect(product[0]).not.toBe(-1);
  });

  it("waits for a run that fails or is aborted, too", async () => {
    const session = await Session.load(graphs.path("heavy"));
    const controller = new AbortController();
    const { ended } = heavyRun(session, controller.signal);
    const disposal = session.dispose();
    await oneTick();
    controller.abort(new Error("stop"));
    await expect(ended).rejects.toThrow("stop");
    await disposal;
  });

  it("ends the values it allocated", async () => {
    const session = await Session.load(graphs.path("increment"));
    const value = session.allocate("f32", [4]);
    await session.dispose();
    expect(value.disposed).toBe(true);
  });
});

describe("Session.load", () => {
  it("tells what the graph takes and gives", () => {
    expect(increment.inputs).toEqual([
      { name: "x", type: "f32", dims: ["N"] },
      { name: "index", type: "i64", dims: [1] },
    ]);
    expect(increment.outputs.map(({ name }) => name)).toEqual(["y", "same"]);
    expect(increment.name).toBe("increment.onnx");
  });

  it("says which file is missing or broken", async () => {
    await expect(Session.load(join(graphs.directory, "gone.onnx"))).rejects.toMatchObject({
      name: "ModelLoadError",
      code: "model-files-missing",
      missing: ["gone.onnx"],
    });
    const broken = join(graphs.directory, "broken.onnx");
    await writeFile(broken, "this is a text");
    await expect(Session.load(broken)).rejects.toMatchObject({
      code: "model-corrupt",
      message: expect.stringContaining("broken.onnx"),
      cause: expect.objectContaining({ name: "OrtError" }),
    });
  });

  it("rejects with the reason when loading is aborted, before or midway", async () => {
    const reason = new Error("changed my mind");
    const path = graphs.path("heavy");
    await expect(Session.load(path, { signal: AbortSignal.abort(reason) })).rejects.toBe(reason);
    const controller = new AbortController();
    const loading = Session.load(path, { signal: controller.signal });
    controller.abort(reason);
    await expect(loading).rejects.toBe(reason);
    expect(getEventListeners(controller.signal, "abort")).toHaveLength(0);
  });

  it("hands further settings to ONNX Runtime", async () => {
    const session = await Session.load(graphs.path("increment"), {
      threads: 1,
      spinning: false,
      memoryArena: false,
      configEntries: { "session.set_denormal_as_zero": "1" },
    });
    const y = new Float32Array(1);
    await session.run({ x: vector(1), index: index() }, { y: Value.of(y, [1]) });
    expect(y[0]).toBe(2);
    await session.dispose();
  });
});

// At the lowest priority of all, new threads of others could not be told from those that give way.
const canGiveWay = process.platform === "linux" && getPriority() < 19;

describe.runIf(canGiveWay)("a session of low priority", () => {
  it("computes on threads that give way to this one, and leaves none of them behind", async () => {
    const own = getPriority();
    const before = new Set(threadsOf(process.pid).keys());
    const giveWay = () =>
      [...threadsOf(process.pid)].filter(
        ([thread, nice]) => !before.has(thread) && nice === Math.min(19, own + 10),
      ).length;
    const session = await Session.load(graphs.path("heavy"), { priority: "low", threads: 3 });
    // Its own, and the two of ONNX Runtime beside it.
    expect(giveWay()).toBeGreaterThanOrEqual(3);
    expect(getPriority()).toBe(own);
    const { product, ended } = heavyRun(session);
    const normal = heavyRun(heavy);
    await Promise.all([ended, normal.ended]);
    expect(product).toEqual(normal.product);
    await session.dispose();
    await expect.poll(giveWay, { timeout: 30_000 }).toBe(0);
  });

  it("stops its runs and its loading as any other, and says the same of what is wrong", async () => {
    const session = await Session.load(graphs.path("heavy"), { priority: "low" });
    const controller = new AbortController();
    const { ended, product } = heavyRun(session, controller.signal);
    await oneTick();
    controller.abort(new Error("never mind"));
    await expect(ended).rejects.toThrow("never mind");
    const other = heavyRun(session);
    const disposal = session.dispose();
    await other.ended;
    await disposal;
    expect([product[0], other.product[0]]).toEqual([-1, expect.any(Number)]);
    expect(other.product[0]).not.toBe(-1);

    const broken = join(graphs.directory, "broken-too.onnx");
    await writeFile(broken, "this is a text");
    await expect(Session.load(broken, { priority: "low" })).rejects.toMatchObject({
      code: "model-corrupt",
    });
    const loading = new AbortController();
    const loaded = Session.load(graphs.path("heavy"), { priority: "low", signal: loading.signal });
    loading.abort(new Error("changed my mind"));
    await expect(loaded).rejects.toThrow("changed my mind");
  });
});

/** Threads of a process, with their priorities. */
function threadsOf(pid: number): Map<number, number> {
  const found = new Map<number, number>();
  for (const thread of readdirSync(`/proc/${pid}/task`).map(Number)) {
    try {
      found.set(thread, getPriority(thread));
    } catch {
      // It has ended since the list was made.
    }
  }
  return found;
}
