import { describe, expect, it } from "vitest";
import { chooseDevice } from "../../../src/vlm/runtime/choose-device.ts";
import { tryDevice } from "../../../src/vlm/runtime/device.ts";

const works =
  <T>(value: T) =>
  async () =>
    value;
const fails = (message: string) => async () => {
  throw new Error(message);
};

const proven = async () => {};

describe("chooseDevice", () => {
  it("takes the card where there is one, and names it", async () => {
    expect(await chooseDevice(proven, { cuda: works("H100"), webgpu: works(undefined) })).toEqual({
      device: "cuda:0",
      why: 'The device "auto" is cuda:0: H100.',
    });
  });

  it("takes WebGPU next, and says why no card", async () => {
    const chosen = await chooseDevice(proven, {
      cuda: fails("No driver."),
      webgpu: works(undefined),
    });
    expect(chosen).toEqual({
      device: "webgpu",
      why: 'The device "auto" is webgpu, because: No driver.',
    });
  });

  it("takes the CPU last, and says why neither", async () => {
    const chosen = await chooseDevice(proven, {
      cuda: fails("No driver."),
      webgpu: fails("No adapter."),
    });
    expect(chosen).toEqual({
      device: "cpu",
      why: 'The device "auto" is cpu, because: No driver. No adapter.',
    });
  });

  it("passes over a device that computes wrongly, and says so", async () => {
    const tried: string[] = [];
    const chosen = await chooseDevice(
      async (device) => {
        tried.push(device);
        if (device === "cuda:0") throw new Error("The device cuda:0 computes wrongly.");
      },
      { cuda: works("H100"), webgpu: works(undefined) },
    );
    expect(tried).toEqual(["cuda:0", "webgpu"]);
    expect(chosen).toEqual({
      device: "webgpu",
      why: 'The device "auto" is webgpu, because: The device cuda:0 computes wrongly.',
    });
  });
});

describe("a device that is tried before anything was loaded", () => {
  it("answers for itself: the library is ready for it", async () => {
    const failure = await tryDevice("webgpu").catch((error: unknown) => error);
    // Where there is an adapter it works; elsewhere the provider says that there is none, and nothing else is wrong.
    const cause =
      failure instanceof Error ? String(failure.cause) : "Failed to get a WebGPU adapter";
    expect(cause).toMatch(/Failed to get a WebGPU adapter|not supported in this build|undefined/);
  });
});
