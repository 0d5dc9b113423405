// The loop alone: which run comes after which, and who gets what. Decoder and eyes are fakes, and so is the clock, which
// goes on a little at every look: what is decided by time is decided alike on every machine.

import { afterEach, beforeEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { AppendOptions } from "../../../src/vlm/engine/decoder-backend.ts";
import { Engine, type EngineOptions } from "../../../src/vlm/engine/engine.ts";
import { FeatureCache } from "../../../src/vlm/engine/feature-cache.ts";
import { PrefixCache } from "../../../src/vlm/engine/prefix-cache.ts";
import type { Sequence } from "../../../src/vlm/engine/sequence.ts";
import { DeviceError, DisposedError, QueueFullError } from "../../../src/vlm/errors.ts";
import { FakeDecoder, FakeEyes, fakePicture, gate } from "../../support/fake-decoder.ts";
import { promptOf, Script, sequenceOf } from "../../support/golden-engine.ts";

const MIB = 2 ** 20;

let now = 0;
beforeEach(() => {
  vi.spyOn(performance, "now").mockImplementation(() => {
    now += 0.01;
    return now;
  });
});
afterEach(() => vi.restoreAllMocks());

interface Choices {
  readonly count?: number;
  readonly chunkTokens?: number;
  readonly maxQueue?: number;
  readonly cached?: boolean;
  readonly parks?: boolean;
  readonly joins?: boolean;
  readonly maxStallMs?: number;
  readonly speculation?: EngineOptions["speculation"];
}

function makeEngine({
  count = 4,
  chunkTokens = 1000,
  maxQueue = 16,
  cached = false,
  parks = false,
  joins = false,
  maxStallMs = 500,
  speculation,
}: Choices = {}) {
  const decoder = new FakeDecoder({ count, parks, joins });
  const eyes = new FakeEyes();
  const features = new FeatureCache(cached ? MIB : 0);
  const prefixes = new PrefixCache({ maxBytes: cached ? MIB : 0, blockTokens: 4 });
  const engine = new Engine({
    decoder,
    slots: decoder,
    visionEncoder: eyes,
    features,
    prefixes,
    maxQueue,
    maxStallMs,
    speculation,
    maxChunkTokens: chunkTokens,
  });
  return { engine, decoder, eyes, features, prefixes };
}

const text = (first: number, tokens: number) => Array.from({ length: tokens }, (_, i) => first + i);

/** Says tokens `first`, `first + 1`, … */
const saying = (first: number, tokens: number) => new Script(text(first, tokens));

const oneTick = () => new Promise((resolve) => setImmediate(resolve));
async function until(condition: () => boolean) {
  while (!condition()) await oneTick();
}

describe("one sequence", () => {
  it("is read in chunks and then written token by token", async () => {
    const { engine, decoder } = makeEngine({ chunkTokens: 4 });
    const reader = saying(100, 2);
    await engine.run(sequenceOf(promptOf([text(0, 10)]), { reader }));
    expect(decoder.runs).toEqual([
      { type: "append", ids: [0, 1, 2, 3] },
      { type: "append", ids: [4, 5, 6, 7] },
      { type: "append", ids: [8, 9] },
      { type: "decode", ids: [100] },
      { type: "decode", ids: [101] },
    ]);
    expect(reader.scores.map(([after]) => after)).toEqual([9, 100, 101]);
    await until(() => decoder.taken === 0);
  });

  it("has its pictures encoded first, each different one once", async () => {
    const { engine, decoder, eyes } = makeEngine();
    const [a, b] = [fakePicture("a"), fakePicture("b")];
    const sequence = sequenceOf(promptOf([[1], a, b, a, [2]]), { reader: saying(5, 0) });
    await engine.run(sequence);
    expect(eyes.begun).toEqual(["a", "b"]);
    expect(sequence.encodedPictures).toBe(3);
    expect(decoder.runs).toHaveLength(1);
  });
});

describe("several sequences", () => {
  it("are written together, and read between two steps of the others", async () => {
    const { engine, decoder } = makeEngine({ chunkTokens: 4, maxStallMs: 0 });
    const first = engine.run(sequenceOf(promptOf([[1]]), { reader: saying(100, 40) }));
    await until(() => decoder.runs.length > 2);
    const second = engine.run(sequenceOf(promptOf([text(0, 12)]), { reader: saying(200, 3) }));
    await Promise.all([first, second]);
    const chunks = decoder.runs.flatMap(({ type, ids }, index) =>
      type === "append" && ids.length > 1 ? [index] : [],
    );
    // Never two chunks without a step in between.
    for (const index of chunks) expect(decoder.runs[index + 1]?.type).toBe("decode");
    expect(decoder.runs.some(({ ids }) => ids.includes(200) && ids.length === 2)).toBe(true);
  });

  it("are read one after the other while those who write can wait", async () => {
    const { engine, decoder } = makeEngine({ maxStallMs: 600_000 });
    const reader = saying(100, 40);
    const first = engine.run(sequenceOf(promptOf([[1]]), { reader }));
    await until(() => reader.scores.length > 2);
    const others = [200, 300, 400].map((id) =>
      engine.run(sequenceOf(promptOf([text(id, 12)]), { reader: saying(id + 50, 3) })),
    );
    await Promise.all([first, ...others]);
    const types = decoder.runs.map(({ type }) => type);
    const begin = types.indexOf("append", 1);
    expect(types.slice(begin, begin + 4)).toEqual(["append", "append", "append", "decode"]);
    expect(decoder.runs[begin + 3]?.ids).toHaveLength(4);
  });

  it("are read in the order of need: what is short does not wait for what is long", async () => {
    const { engine, decoder } = makeEngine({ chunkTokens: 4 });
    const hold = gate();
    decoder.onRun = () => hold.opened;
    const order: string[] = [];
    const run = async (name: string, tokens: number) => {
      await engine.run(sequenceOf(promptOf([text(0, tokens)]), { reader: saying(1, 0) }));
      order.push(name);
    };
    const running = [run("first", 4), run("long", 400), run("short", 8)];
    await oneTick();
    hold.open();
    await Promise.all(running);
    expect(order).toEqual(["first", "short", "long"]);
  });

  it("get slots by priority, and take turns by chat", async () => {
    const { engine } = makeEngine({ count: 1 });
    const order: string[] = [];
    const run = async (name: string, chat: string, priority = 0) => {
      const reader = saying(1, 1);
      await engine.run(sequenceOf(promptOf([[1, 2]]), { reader, chat, priority }));
      order.push(name);
    };
    await Promise.all([
      run("a1", "a"),
      run("a2", "a"),
      run("a3", "a"),
      run("b1", "b"),
      run("urgent", "c", 1),
    ]);
    expect(order).toEqual(["urgent", "a1", "b1", "a2", "a3"]);
  });

  it("are told where they stand, and refused beyond the bound", async () => {
    const { engine, decoder } = makeEngine({ count: 1, maxQueue: 2 });
    const hold = gate();
    decoder.onRun = () => hold.opened;
    const positions: number[][] = [[], [], []];
    const running = positions.map((told) => {
      const prompt = promptOf([[1, 2]]);
      const sequence = sequenceOf(prompt, {
        reader: saying(1, 0),
        onQueue: (position) => told.push(position),
      });
      return engine.run(sequence);
    });
    await until(() => decoder.runs.length === 1 && positions[2]!.length > 0);
    expect(() => engine.expectRoom()).toThrow(QueueFullError);
    await expect(
      engine.run(sequenceOf(promptOf([[3]]), { reader: saying(1, 0) })),
    ).rejects.toMatchObject({ code: "queue-full", waiting: 2, limit: 2 });
    hold.open();
    await Promise.all(running);
    expect(positions).toEqual([[0], [1, 0], [2, 1, 0]]);
    engine.expectRoom();
  });

  it("share one run of the eyes when they have the same picture", async () => {
    const { engine, eyes } = makeEngine();
    const sequences = [1, 2, 3].map((id) =>
      sequenceOf(promptOf([[id], fakePicture("same")]), { reader: saying(1, 0) }),
    );
    await Promise.all(sequences.map((sequence) => engine.run(sequence)));
    expect(eyes.begun).toEqual(["same"]);
  });
});

describe("a prompt and those who write, where they can run together", () => {
  const joined = (choices: Choices = {}) => makeEngine({ joins: true, chunkTokens: 4, ...choices });

  it("take one run for a piece and a token of each, and nobody waits for a prompt", async () => {
    const { engine, decoder } = joined();
    const readers = [saying(100, 40), saying(200, 40)];
    const running = readers.map((reader, id) =>
      engine.run(sequenceOf(promptOf([[id]]), { reader })),
    );
    await until(() => readers.every(({ scores }) => scores.length > 2));
    const late = saying(300, 3);
    await engine.run(sequenceOf(promptOf([text(0, 12)]), { reader: late }));
    const pieces = decoder.runs.filter(({ ids }) => ids.length === 4);
    expect(pieces.map(({ ids }) => ids)).toEqual([text(0, 4), text(4, 4), text(8, 4)]);
    for (const run of pieces) {
      expect(run).toMatchObject({
        type: "together",
        beside: [expect.any(Number), expect.any(Number)],
      });
    }
    await Promise.all(running);
    for (const [index, { scores }] of readers.entries()) {
      const said = text(100 * (index + 1), 40);
      expect(scores.map(([after]) => after)).toEqual([index, ...said]);
    }
    expect(late.scores.map(([after]) => after)).toEqual([11, 300, 301, 302]);
    await until(() => decoder.taken === 0);
  });

  it("fail apart: a prompt costs nobody who writes, and they cost no prompt", async () => {
    const { engine, decoder } = joined();
    decoder.onRun = (run) => {
      const ids = run.type === "together" ? [...run.ids, ...run.beside] : run.ids;
      if (ids.includes(66) || ids.includes(140)) throw new Error("kernel failed");
    };
    const readers = [saying(100, 60), saying(500, 20), saying(1, 1)];
    // The long one is still being read when the answer fails.
    const prompts = [[1], text(200, 200), text(60, 12)];
    const [failing, reading, broken] = readers.map((reader, index) => async () => {
      if (index > 0) await until(() => readers[0]!.scores.length > 20);
      await engine.run(sequenceOf(promptOf([prompts[index]!]), { reader }));
    });
    const outcomes = await Promise.allSettled([failing!(), reading!(), broken!()]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled", "rejected"]);
    // The broken prompt was between them, and cost neither a token.
    expect(readers[0]!.scores.map(([after]) => after)).toEqual([1, ...text(100, 40)]);
    expect(readers[1]!.scores.map(([after]) => after)).toEqual([399, ...text(500, 20)]);
    await until(() => decoder.taken === 0);
  });

  it("go on without whoever is aborted, a reader or a writer", async () => {
    const { engine, decoder } = joined();
    const readers = [saying(100, 80), saying(200, 80)];
    const controllers = [0, 1, 2].map(() => new AbortController());
    const writing = readers.map((reader, id) =>
      engine.run(sequenceOf(promptOf([[id]]), { reader, signal: controllers[id]!.signal })),
    );
    const outcomes = Promise.allSettled(writing);
    await until(() => readers.every(({ scores }) => scores.length > 2));
    const prompt = promptOf([text(0, 40)]);
    const reading = sequenceOf(prompt, { reader: saying(1, 1), signal: controllers[2]!.signal });
    const stopped = expect(engine.run(reading)).rejects.toBe("not needed");
    await until(() => decoder.runs.some(({ type }) => type === "together"));
    const hold = gate();
    decoder.onRun = () => hold.opened;
    await oneTick();
    controllers[1]!.abort("enough");
    controllers[2]!.abort("not needed");
    const before = decoder.runs.length;
    hold.open();
    await stopped;
    expect(decoder.runs.length - before).toBeLessThanOrEqual(1);
    expect((await outcomes).map(({ status }) => status)).toEqual(["fulfilled", "rejected"]);
    expect(readers[0]!.scores).toHaveLength(81);
    await until(() => decoder.taken === 0);
  });
});

describe("what goes wrong", () => {
  it("in a run costs only the sequences that were in it", async () => {
    const { engine, decoder } = makeEngine();
    decoder.onRun = ({ ids }) => {
      if (ids.includes(66)) throw new Error("kernel failed");
    };
    const outcomes = await Promise.allSettled([
      engine.run(sequenceOf(promptOf([[1, 66]]), { reader: saying(100, 5) })),
      engine.run(sequenceOf(promptOf([[2]]), { reader: saying(200, 5) })),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual(["rejected", "fulfilled"]);
    const together = await Promise.allSettled([
      engine.run(sequenceOf(promptOf([[3]]), { reader: saying(63, 5) })),
      engine.run(sequenceOf(promptOf([[4]]), { reader: saying(75, 1) })),
    ]);
    expect(together[0]).toMatchObject({ status: "rejected", reason: { message: "kernel failed" } });
    expect(together[1]?.status).toBe("fulfilled");
    await until(() => decoder.taken === 0);
  });

  it("while guesses are checked is a step of the answer, not of a prompt", async () => {
    const speculation = { draft: () => [101, 102], ran: vi.fn(), checked: vi.fn() };
    const { engine, decoder } = makeEngine({ speculation });
    const stages: (string | undefined)[] = [];
    decoder.onRun = ({ type }, { stage }: AppendOptions) => {
      if (type === "append") stages.push(stage);
    };
    await engine.run(sequenceOf(promptOf([[1]]), { reader: saying(100, 4) }));
    expect(stages).toEqual([undefined, "decode", "decode"]);
  });

  it("with a picture costs those who wanted it", async () => {
    const { engine, eyes, decoder } = makeEngine();
    eyes.onPicture = (key) => {
      if (key === "bad") throw new Error("no such picture");
    };
    const run = (...parts: Parameters<typeof promptOf>[0]) =>
      engine.run(sequenceOf(promptOf(parts), { reader: saying(1, 1) }));
    const outcomes = await Promise.allSettled([
      run([1], fakePicture("bad")),
      run([2], fakePicture("bad")),
      run([3], fakePicture("good")),
      run([4]),
    ]);
    expect(outcomes.map(({ status }) => status)).toEqual([
      "rejected",
      "rejected",
      "fulfilled",
      "fulfilled",
    ]);
    await until(() => decoder.taken === 0);
  });

  it("in a reader costs that reader's sequence", async () => {
    const { engine, decoder } = makeEngine();
    const broken = {
      take: () => {
        throw new Error("no distribution");
      },
    };
    const other = engine.run(sequenceOf(promptOf([[2]]), { reader: saying(1, 3) }));
    await expect(engine.run(sequenceOf(promptOf([[1]]), { reader: broken }))).rejects.toThrow(
      "no distribution",
    );
    await other;
    await until(() => decoder.taken === 0);
  });
});

describe("aborting", () => {
  const abortable = (sequence: (signal: AbortSignal) => Sequence) => {
    const controller = new AbortController();
    return { controller, sequence: sequence(controller.signal) };
  };

  it("ends a run of one sequence, and frees its slot", async () => {
    const { engine, decoder } = makeEngine();
    decoder.onRun = (_, { signal }) =>
      new Promise((_resolve, reject) => {
        const stop = () => reject(signal?.reason);
        if (signal?.aborted) stop();
        else signal?.addEventListener("abort", stop);
      });
    const { controller, sequence } = abortable((signal) =>
      sequenceOf(promptOf([[1, 2]]), { reader: saying(1, 5), signal }),
    );
    const outcome = expect(engine.run(sequence)).rejects.toBe("enough");
    await until(() => decoder.runs.length === 1);
    controller.abort("enough");
    await outcome;
    await until(() => decoder.taken === 0);
    expect(decoder.runs).toHaveLength(1);
  });

  it("lets a run of several end for the others, and frees the slot after it", async () => {
    const { engine, decoder } = makeEngine();
    const staying = saying(200, 60);
    const other = engine.run(sequenceOf(promptOf([[2]]), { reader: staying }));
    const { controller, sequence } = abortable((signal) =>
      sequenceOf(promptOf([[1]]), { reader: saying(100, 50), signal }),
    );
    const outcome = expect(engine.run(sequence)).rejects.toBe("enough");
    await until(() => decoder.runs.some(({ ids }) => ids.length === 2));
    const hold = gate();
    decoder.onRun = () => hold.opened;
    await oneTick();
    const before = decoder.runs.length;
    controller.abort("enough");
    hold.open();
    await outcome;
    expect(decoder.runs.length - before).toBeLessThanOrEqual(1);
    expect(decoder.taken).toBe(1);
    await other;
    expect(staying.scores).toHaveLength(61);
  });

  it("leaves the queue without disturbing anybody", async () => {
    const { engine, decoder } = makeEngine({ count: 1 });
    const first = engine.run(sequenceOf(promptOf([[1]]), { reader: saying(1, 3) }));
    const { controller, sequence } = abortable((signal) =>
      sequenceOf(promptOf([[2]]), { reader: saying(1, 3), signal }),
    );
    const outcome = expect(engine.run(sequence)).rejects.toBe("gone");
    const last = engine.run(sequenceOf(promptOf([[3]]), { reader: saying(1, 3) }));
    controller.abort("gone");
    await Promise.all([first, outcome, last]);
    expect(decoder.runs.filter(({ type }) => type === "append").map(({ ids }) => ids)).toEqual([
      [1],
      [3],
    ]);
  });

  it("stops the eyes when nobody wants the picture any more, and not before", async () => {
    const { engine, eyes, decoder } = makeEngine();
    const hold = gate();
    eyes.onPicture = () => hold.opened;
    const picture = fakePicture("a");
    const [one, two] = [1, 2].map((id) =>
      abortable((signal) =>
        sequenceOf(promptOf([[id], picture]), { reader: saying(1, 0), signal }),
      ),
    );
    const outcomes = [one!, two!].map(({ sequence }) =>
      expect(engine.run(sequence)).rejects.toBe("left"),
    );
    await until(() => eyes.begun.length === 1);
    one!.controller.abort("left");
    await outcomes[0];
    expect(eyes.stopped).toEqual([]);
    two!.controller.abort("left");
    await outcomes[1];
    await until(() => eyes.stopped.length === 1);
    expect(decoder.taken).toBe(0);
  });

  it("fails with a device that is lost, and whoever waits is told the same", async () => {
    const { engine, decoder } = makeEngine({ count: 1 });
    const lost = new DeviceError("device-lost", "The device cuda:0 was lost.");
    decoder.onRun = () => {
      throw lost;
    };
    const say = (id: number) => sequenceOf(promptOf([[id]]), { reader: saying(1, 3) });
    const outcomes = [1, 2].map((id) => engine.run(say(id)).catch((error: unknown) => error));
    await until(() => decoder.runs.length > 0);
    await engine.close(lost);
    expect(await Promise.all(outcomes)).toEqual([lost, lost]);
    await expect(engine.run(say(3))).rejects.toBe(lost);
    expect(decoder.taken).toBe(0);
  });

  it("fails alone when it needs more memory than there is, and the others go on", async () => {
    const { engine, decoder } = makeEngine();
    const full = new DeviceError("device-memory", "cuda:0 has no room for pictures.");
    decoder.onRun = ({ type, ids }) => {
      if (type === "append" && ids.includes(66)) throw full;
    };
    const reader = saying(100, 4);
    const others = [reader, saying(200, 4)].map((one, index) =>
      engine.run(sequenceOf(promptOf([[index]]), { reader: one })),
    );
    const large = engine.run(sequenceOf(promptOf([[66]]), { reader: saying(1, 1) }));
    await expect(large).rejects.toBe(full);
    await Promise.all(others);
    expect(reader.scores.map(([after]) => after)).toEqual([0, 100, 101, 102, 103]);
    await until(() => decoder.taken === 0);
  });

  it("is what close waits for", async () => {
    const { engine, eyes } = makeEngine({ count: 1 });
    eyes.onPicture = () => gate().opened;
    const { controller, sequence } = abortable((signal) =>
      sequenceOf(promptOf([[1], fakePicture("a")]), { reader: saying(1, 0), signal }),
    );
    const running = expect(engine.run(sequence)).rejects.toBe("closing");
    const waiting = expect(
      engine.run(sequenceOf(promptOf([[2]]), { reader: saying(1, 0) })),
    ).rejects.toBeInstanceOf(DisposedError);
    await until(() => eyes.begun.length === 1);
    controller.abort("closing");
    await engine.close();
    await Promise.all([running, waiting]);
    await expect(
      engine.run(sequenceOf(promptOf([[3]]), { reader: saying(1, 0) })),
    ).rejects.toBeInstanceOf(DisposedError);
  });
});

describe("what was computed before", () => {
  it("is not computed again: the same picture, the same beginning, the same conversation", async () => {
    const { engine, decoder, eyes, prefixes, features } = makeEngine({ cached: true });
    const a = fakePicture("a");
    const question = promptOf([text(0, 6), a, text(10, 3)]);
    await engine.run(sequenceOf(question, { reader: saying(20, 3), chat: "one" }));
    await until(() => decoder.taken === 0);
    expect(features.pictures).toBe(1);

    const followUp = promptOf([text(0, 6), a, text(10, 3), text(20, 3), text(30, 5)]);
    const next = sequenceOf(followUp, { reader: saying(40, 1), chat: "one" });
    decoder.runs.length = 0;
    await engine.run(next);
    expect(next.reusedTokens).toBe(6 + 4 + 3 + 3);
    expect(next.encodedPictures).toBe(0);
    expect(decoder.runs[0]).toEqual({ type: "append", ids: text(30, 5) });

    const elsewhere = sequenceOf(promptOf([text(7, 2), a]), { reader: saying(1, 0), chat: "two" });
    await engine.run(elsewhere);
    expect(elsewhere.reusedTokens).toBe(0);
    expect(elsewhere.encodedPictures).toBe(0);
    expect(eyes.begun).toEqual(["a"]);

    const again = sequenceOf(question, { reader: saying(20, 0), chat: "one" });
    await engine.run(again);
    expect(again.reusedTokens).toBe(question.ids.length - 1);
    expect(prefixes.totalBytes).toBeLessThanOrEqual(MIB);
  });

  it("does not mix up pictures that are the same tokens", async () => {
    const { engine } = makeEngine({ cached: true });
    const ask = (key: string, rows: number, columns: number) =>
      sequenceOf(promptOf([text(0, 3), fakePicture(key, rows, columns), [9]]), {
        reader: saying(1, 0),
      });
    await engine.run(ask("a", 2, 4));
    for (const other of [ask("b", 2, 4), ask("a2", 4, 2)]) {
      await engine.run(other);
      expect(other.reusedTokens).toBe(3);
      expect(other.encodedPictures).toBe(1);
    }
  });

  it("is forgotten by picture and by chat", async () => {
    const { engine, eyes, decoder, prefixes, features } = makeEngine({ cached: true });
    const [a, b] = [fakePicture("hash-a:settings"), fakePicture("hash-b:settings")];
    const run = async (parts: Parameters<typeof promptOf>[0], chat: string) => {
      const sequence = sequenceOf(promptOf(parts), { reader: saying(50, 2), chat });
      await engine.run(sequence);
      await until(() => decoder.taken === 0);
      return sequence;
    };
    const system = text(0, 8);
    await run([system, a, [1]], "one");
    await run([system, b, [2]], "two");
    await run([system, text(60, 6)], "two");

    expect(engine.forget({ picture: (key) => key.startsWith("hash-a:") }).bytes).toBeGreaterThan(0);
    expect(features.pictures).toBe(1);
    const again = await run([system, a, [1]], "three");
    expect(again.reusedTokens).toBe(8);
    expect(again.encodedPictures).toBe(1);

    engine.forget({ chat: "two" });
    const other = await run([system, b, [2]], "three");
    // The system prompt belongs to everybody who used it.
    expect(other.reusedTokens).toBe(8);
    expect(other.encodedPictures).toBe(1);
    expect((await run([system, text(60, 6)], "three")).reusedTokens).toBe(8);

    engine.forget({ chat: "three" });
    engine.forget({ chat: "one" });
    expect([prefixes.blocks, prefixes.totalBytes, features.pictures]).toEqual([0, 0, 0]);
    expect(eyes.begun).toHaveLength(4);
  });

  it("is not kept when it is forgotten while it is being computed", async () => {
    const { engine, eyes, decoder, prefixes, features } = makeEngine({ cached: true });
    const hold = gate();
    eyes.onPicture = () => hold.opened;
    const sequence = sequenceOf(promptOf([text(0, 8), fakePicture("hash-a:settings"), [1]]), {
      reader: saying(50, 5),
      chat: "one",
    });
    const running = engine.run(sequence);
    await until(() => eyes.begun.length === 1);
    const waiting = [1, 2, 3, 4].map((id) =>
      engine.run(sequenceOf(promptOf([text(60 + id, 8)]), { reader: saying(70, 5), chat: "two" })),
    );
    engine.forget({ picture: (key) => key.startsWith("hash-a"), chat: "two" });
    hold.open();
    await Promise.all([running, ...waiting]);
    await until(() => decoder.taken === 0);
    expect([prefixes.blocks, features.pictures]).toEqual([0, 0]);
  });
});

describe("a slot that lies idle", () => {
  const ask = (engine: Engine, first: number, chat: string) => {
    const sequence = sequenceOf(promptOf([text(first, 12)]), {
      reader: saying(first + 12, 3),
      chat,
    });
    return engine.run(sequence).then(() => sequence);
  };

  it("is taken over by who goes on from what it holds, and nothing is copied", async () => {
    const { engine, decoder } = makeEngine({ cached: true, parks: true });
    await ask(engine, 100, "one");
    const followUp = sequenceOf(promptOf([text(100, 15), text(500, 5)]), {
      reader: saying(600, 0),
      chat: "one",
    });
    await engine.run(followUp);
    expect(followUp.reusedTokens).toBe(15);
    expect(decoder.runs.at(-1)).toEqual({ type: "append", ids: text(500, 5) });
    expect([decoder.copied, decoder.taken]).toEqual([0, 1]);
    // The same beginning, but little of what the slot holds: that stays whole, and the beginning is copied.
    const other = sequenceOf(promptOf([text(100, 8), text(700, 30)]), { reader: saying(1, 0) });
    await engine.run(other);
    expect(other.reusedTokens).toBe(8);
    expect([decoder.copied, decoder.taken]).toEqual([2, 2]);
  });

  it("goes to others when there is none left, the one that was not used for longest first", async () => {
    const { engine, decoder } = makeEngine({ cached: true, parks: true, count: 2 });
    for (const first of [100, 200, 300]) await ask(engine, first, String(first));
    expect(decoder.taken).toBe(2);
    await ask(engine, 300, "300");
    expect(decoder.copied).toBe(0);
    const again = await ask(engine, 100, "100");
    expect(again.reusedTokens).toBe(11);
    expect(decoder.copied).toBeGreaterThan(0);
    await engine.close();
    expect(decoder.taken).toBe(0);
  });

  it("is given back when its chat or a picture in it is forgotten, or nothing is to be kept", async () => {
    const { engine, decoder } = makeEngine({ cached: true, parks: true });
    const seen = promptOf([text(0, 3), fakePicture("a"), [9]]);
    await ask(engine, 100, "one");
    await ask(engine, 200, "two");
    await engine.run(sequenceOf(seen, { reader: saying(1, 0), chat: "three" }));
    await until(() => decoder.taken === 3);
    engine.forget({ chat: "one" });
    await until(() => decoder.taken === 2);
    engine.forget({ picture: (key) => key === "a" });
    await until(() => decoder.taken === 1);
    expect((await ask(engine, 100, "one")).reusedTokens).toBe(0);

    const uncached = makeEngine({ parks: true });
    await ask(uncached.engine, 100, "one");
    await until(() => uncached.decoder.taken === 0);
  });
});

describe("computing ahead of time", () => {
  it("encodes pictures alone when prompts are not kept", async () => {
    const { engine, decoder, eyes } = makeEngine();
    await engine.run(sequenceOf(promptOf([text(0, 9), fakePicture("a")])));
    expect(eyes.begun).toEqual(["a"]);
    expect(decoder.runs).toEqual([]);
  });

  it("leaves everything for the request that follows", async () => {
    const { engine, decoder, eyes } = makeEngine({ cached: true });
    const prompt = promptOf([text(0, 9), fakePicture("a"), text(10, 4)]);
    await engine.run(sequenceOf(prompt, { chat: "one" }));
    await until(() => decoder.taken === 0);
    const asked = sequenceOf(prompt, { reader: saying(1, 0), chat: "one" });
    await engine.run(asked);
    expect(asked.reusedTokens).toBe(prompt.ids.length - 1);
    expect(eyes.begun).toEqual(["a"]);
  });

  it("waits for everybody else, and goes on from where it stopped", async () => {
    const { engine, decoder } = makeEngine({ cached: true, count: 1, chunkTokens: 8 });
    const ahead = engine.run(sequenceOf(promptOf([text(0, 60)])));
    await until(() => decoder.runs.length >= 2);
    const before = decoder.runs.length;
    const real = engine.run(sequenceOf(promptOf([text(500, 6)]), { reader: saying(600, 4) }));
    await real;
    const begun = decoder.runs.findIndex(({ ids }) => ids[0] === 500);
    expect(begun - before).toBeLessThanOrEqual(1);
    const during = decoder.runs.slice(begun, begun + 5);
    expect(during.every(({ ids }) => ids[0]! >= 500)).toBe(true);
    await ahead;
    const computed = decoder.runs.flatMap(({ ids }) => ids.filter((id) => id < 60));
    expect(new Set(computed).size).toBe(60);
    expect(computed.length).toBeLessThan(60 + 8);
  });

  it("gives the eyes to a request that wants another picture, and shares those that are wanted", async () => {
    const { engine, eyes } = makeEngine({ cached: true });
    const holds = [gate(), gate(), gate()];
    eyes.onPicture = () => holds[eyes.begun.length - 1]?.opened;
    const [a, b] = [fakePicture("a"), fakePicture("b")];
    const ahead = engine.run(sequenceOf(promptOf([[1], a])));
    await until(() => eyes.begun.length === 1);
    const same = engine.run(sequenceOf(promptOf([[2], a]), { reader: saying(1, 0) }));
    await oneTick();
    expect(eyes.stopped).toEqual([]);
    holds[0]!.open();
    await Promise.all([ahead, same]);

    const later = engine.run(sequenceOf(promptOf([[3], b])));
    await until(() => eyes.begun.length === 2);
    const other = engine.run(
      sequenceOf(promptOf([[4], fakePicture("c")]), { reader: saying(1, 0) }),
    );
    await until(() => eyes.begun.length === 3);
    expect(eyes.stopped).toEqual(["b"]);
    holds[2]!.open();
    await Promise.all([other, later]);
    expect(eyes.begun).toEqual(["a", "b", "c", "b"]);
  });
});

describe("onQueue", () => {
  it("is not called for those who need not wait, but for their turn", async () => {
    const { engine } = makeEngine();
    const onQueue = vi.fn();
    await engine.run(sequenceOf(promptOf([[1]]), { reader: saying(1, 0), onQueue }));
    expect(onQueue.mock.calls).toEqual([[0]]);
  });
});

describe("writing while a picture is encoded", () => {
  it("goes on, but leaves the cores to the picture most of the time", async () => {
    vi.useFakeTimers({ toFake: ["setTimeout", "clearTimeout"] });
    onTestFinished(() => void vi.useRealTimers());
    const { engine, decoder, eyes } = makeEngine({ maxStallMs: 500 });
    const hold = gate();
    eyes.onPicture = () => hold.opened;
    const reader = saying(100, 500);
    const writing = engine.run(sequenceOf(promptOf([[1]]), { reader }));
    await until(() => reader.scores.length > 3);
    const seeing = engine.run(
      sequenceOf(promptOf([[2], fakePicture("a")]), { reader: saying(1, 0) }),
    );
    await until(() => eyes.begun.length === 1);
    const steps = decoder.runs.length;
    for (let ms = 0; ms < 5_000; ms += 5) {
      now += 5;
      vi.advanceTimersByTime(5);
      for (let turn = 0; turn < 5; turn++) await oneTick();
    }
    // Most of maxStallMs lies between two of them.
    expect(decoder.runs.length - steps).toBeGreaterThanOrEqual(10);
    expect(decoder.runs.length - steps).toBeLessThanOrEqual(13);
    hold.open();
    await Promise.all([writing, seeing]);
    expect(reader.scores).toHaveLength(501);
  });

  it("goes on in the run of the prompt once its picture is seen, where they can run together", async () => {
    const { engine, decoder, eyes } = makeEngine({ joins: true, maxStallMs: 600_000 });
    const hold = gate();
    eyes.onPicture = () => hold.opened;
    const reader = saying(100, 40);
    const writing = engine.run(sequenceOf(promptOf([[1]]), { reader }));
    await until(() => reader.scores.length > 3);
    const prompt = promptOf([[2], fakePicture("a")]);
    const seeing = engine.run(sequenceOf(prompt, { reader: saying(1, 0) }));
    await until(() => eyes.begun.length === 1);
    // The step that may have begun before; then the cores are the picture's.
    const written = reader.scores.length;
    for (let turn = 0; turn < 20; turn++) await oneTick();
    expect(reader.scores.length).toBeLessThanOrEqual(written + 1);
    const before = decoder.runs.length;
    hold.open();
    await Promise.all([writing, seeing]);
    expect(decoder.runs[before]?.type).toBe("together");
    expect(reader.scores).toHaveLength(41);
  });

  it("keeps nobody waiting who comes or leaves meanwhile", async () => {
    const { engine, decoder, eyes } = makeEngine({ maxStallMs: 600_000 });
    const hold = gate();
    eyes.onPicture = () => hold.opened;
    const [reader, controller] = [saying(100, 1000), new AbortController()];
    const { signal } = controller;
    const writing = engine.run(sequenceOf(promptOf([[1]]), { reader, signal }));
    const stays = engine.run(sequenceOf(promptOf([[3]]), { reader: saying(300, 1000) }));
    await until(() => reader.scores.length > 3);
    const prompt = promptOf([[2], fakePicture("a")]);
    const seeing = engine.run(sequenceOf(prompt, { reader: saying(1, 0) }));
    await until(() => eyes.begun.length === 1);
    for (let turn = 0; turn < 20; turn++) await oneTick();
    const steps = decoder.runs.length;

    // Those who write have left the cores to the picture; what comes now does not wait for it.
    await engine.run(sequenceOf(promptOf([[7, 8]]), { reader: saying(200, 0) }));
    expect(decoder.runs[steps]).toEqual({ type: "append", ids: [7, 8] });
    controller.abort(new Error("gone"));
    await expect(writing).rejects.toThrow("gone");
    expect(eyes.begun).toEqual(["a"]);
    hold.open();
    await Promise.all([seeing, stays]);
  });
});
