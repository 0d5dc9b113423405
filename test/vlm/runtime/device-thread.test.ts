import { afterEach, describe, expect, it } from "vitest";
import { DeviceThread, DeviceThreadError } from "../../../src/vlm/runtime/device-thread.ts";
import { addresses, loadOrt, offHeap } from "../../../src/vlm/runtime/ort.ts";

const LIBC = "libc.so.6";
const ort = loadOrt();
const threads: DeviceThread[] = [];

function start(): DeviceThread {
  const thread = new DeviceThread("test");
  threads.push(thread);
  return thread;
}

afterEach(() => {
  threads.length = 0;
});

describe("a device thread", () => {
  it("calls ONNX Runtime with arrays of this thread, in order", async () => {
    const out = addresses(1);
    const thread = start();
    const [status] = await thread.call([ort.describe("CreateSessionOptions", out)]);
    ort.check(status!);
    expect(out[0]).not.toBe(0n);
    const results = await thread.call([
      ort.describe("SetIntraOpNumThreads", out[0]!, 1),
      ort.describeRelease("ReleaseSessionOptions", out[0]!),
    ]);
    expect(results).toEqual([null, null]);
  });

  it("stops at the first call that fails, whose status says why", async () => {
    const options = ort.create("CreateSessionOptions");
    const results = await start().call([
      ort.describe("AddSessionConfigEntry", options, "a", "1"),
      ort.describe("AddSessionConfigEntry", options, "", "1"),
      ort.describe("AddSessionConfigEntry", options, "b", "1"),
    ]);
    expect(results).toHaveLength(2);
    expect(() => ort.check(results[1]!)).toThrow(/key/i);
    ort.release("ReleaseSessionOptions", options);
  });

  it("makes calls that end something also after one that failed", async () => {
    const options = ort.create("CreateSessionOptions");
    const results = await start().call([
      ort.describe("AddSessionConfigEntry", options, "", "1"),
      ort.describe("AddSessionConfigEntry", options, "a", "1"),
      { ...ort.describe("AddSessionConfigEntry", options, "b", "1"), always: true },
    ]);
    expect(results).toHaveLength(2);
    expect(results[1]).toBeNull();
    expect(() => ort.check(results[0]!)).toThrow(/key/i);
    ort.release("ReleaseSessionOptions", options);
  });

  it.runIf(process.platform === "linux")("leaves the event loop free during a call", async () => {
    const thread = start();
    let most = 0;
    // On a machine with other things to do, one call may be over before this process is given a turn.
    for (let call = 0; call < 50 && most <= 10; call++) {
      let ticks = 0;
      const timer = setInterval(() => ticks++, 1);
      await thread.call([ort.describeForeign(LIBC, "usleep", ["int"], [200_000])]);
      clearInterval(timer);
      most = Math.max(most, ticks);
    }
    expect(most).toBeGreaterThan(10);
  });

  it.runIf(process.platform === "linux")(
    "keeps the order of calls that were not awaited",
    async () => {
      const thread = start();
      const [a, b] = [offHeap(Uint8Array.of(1)), offHeap(Uint8Array.of(2))];
      const copy = (to: Uint8Array<ArrayBuffer>, from: Uint8Array<ArrayBuffer>) =>
        ort.describeForeign(LIBC, "swab", ["address", "address", "size"], [from, to, 0]);
      const order: string[] = [];
      await Promise.all([
        thread
          .call([ort.describeForeign(LIBC, "usleep", ["int"], [20_000])])
          .then(() => order.push("long")),
        thread.call([copy(a, b)]).then(() => order.push("short")),
      ]);
      expect(order).toEqual(["long", "short"]);
    },
  );

  it.runIf(process.platform === "linux")("makes calls while the process exits", () => {
    const thread = start();
    const text = offHeap(new Uint8Array(8));
    const fill = ort.describeForeign(LIBC, "memset", ["address", "int", "size"], [text, 7, 8]);
    expect(thread.callAtExit([fill], 60_000)).toBe("made");
    expect([...text]).toEqual(Array(8).fill(7));
    const long = ort.describeForeign(LIBC, "usleep", ["int"], [2_000_000]);
    expect(thread.callAtExit([long], 1)).toBe("late");
  });

  it("ends: what it was to do fails, and so does what comes later", async () => {
    const thread = start();
    const out = addresses(1);
    await thread.call([ort.describe("CreateSessionOptions", out)]);
    ort.release("ReleaseSessionOptions", out[0]!);
    await thread.end();
    await expect(thread.call([])).rejects.toBeInstanceOf(DeviceThreadError);
    expect(thread.callAtExit([], 1)).toBe("ended");
  });
});
