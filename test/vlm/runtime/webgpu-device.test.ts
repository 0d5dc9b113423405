// What the device "webgpu" makes of answers, on a thread that is a fake.

import { describe, expect, it } from "vitest";
import type { NativeCall, NativeResult } from "../../../src/vlm/runtime/device-thread.ts";
import { loadOrt } from "../../../src/vlm/runtime/ort.ts";
import { WebGpuDevice } from "../../../src/vlm/runtime/webgpu-device.ts";

const ort = loadOrt();

/** Answers with real statuses of ONNX Runtime, whose texts are those of a device. */
class FakeThread {
  readonly made: (readonly NativeCall[])[] = [];
  answer: () => NativeResult[] = () => [null];

  async call(calls: readonly NativeCall[]): Promise<NativeResult[]> {
    this.made.push(calls);
    return this.answer();
  }

  async end(): Promise<void> {}

  callAtExit(): "made" {
    return "made";
  }
}

/** A status with this text, as ONNX Runtime makes them: the name of a file that is not there comes back in it. */
async function statusWith(text: string): Promise<bigint> {
  const { DeviceThread } = await import("../../../src/vlm/runtime/device-thread.ts");
  const options = ort.create("CreateSessionOptions");
  const thread = new DeviceThread("status");
  const out = new BigUint64Array(1);
  const call = ort.describe("CreateSession", ort.environment, text, options, out);
  const [status] = await thread.call([call]);
  ort.release("ReleaseSessionOptions", options);
  await thread.end();
  return status as bigint;
}

describe("the device webgpu", () => {
  it.each([
    "[Device] is lost. - While calling [Queue].Submit([[CommandBuffer]])",
    "WebGPU device lost (2): A valid external Instance reference no longer exists.",
    "The device was lost",
  ])("is lost when a call says so: %s", async (text) => {
    const thread = new FakeThread();
    const device = new WebGpuDevice(thread);
    const status = await statusWith(text);
    thread.answer = () => [status];
    await expect(device.call([])).rejects.toMatchObject({
      name: "DeviceError",
      code: "device-lost",
    });
    expect(device.loss.reason).toMatchObject({ code: "device-lost" });
    // Nothing more is asked of it, but what it holds is released: it stays the only one until then.
    const { length } = thread.made;
    await expect(device.call([])).rejects.toBe(device.loss.reason);
    expect(thread.made).toHaveLength(length);
    await device.release([]);
    expect(thread.made).toHaveLength(length + 1);
  });

  it("is lost with its thread", async () => {
    const thread = new FakeThread();
    const device = new WebGpuDevice(thread);
    thread.answer = () => {
      throw new Error("The thread of the device has ended.");
    };
    await expect(device.call([])).rejects.toMatchObject({ code: "device-lost" });
    await device.release([]);
  });

  it("is not lost by a call that fails", async () => {
    const thread = new FakeThread();
    const device = new WebGpuDevice(thread);
    const status = await statusWith(
      "Program MatMul requires f16 but the device does not support it.",
    );
    thread.answer = () => [status];
    await expect(device.call([])).rejects.toMatchObject({ name: "OrtError" });
    expect(device.loss.aborted).toBe(false);
    thread.answer = () => [null];
    await device.call([]);
  });
});
