// The CUDA provider in its form as a plugin: found by its name, preferred, and left for the other form with a reason. The
// texts are those that ONNX Runtime 1.30.0 gave to libraries that were not there, were no plugin, and were registered
// twice; the real core is asked for them again.

import { mkdir, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { CUDA_PLUGIN_FILE, findCudaPlugin } from "../../../src/vlm/runtime/cuda-plugin.ts";
import { CUDA_PROVIDER_FILE } from "../../../src/vlm/runtime/cuda-provider.ts";
import { DeviceThread } from "../../../src/vlm/runtime/device-thread.ts";
import { loadOrt } from "../../../src/vlm/runtime/ort.ts";
import { ProviderPlugins } from "../../../src/vlm/runtime/provider-plugins.ts";
import { cudaAnswer } from "../../support/cuda-answers.ts";
import { FakeCuda } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

const CARD = { handle: 7n, provider: "CUDAExecutionProvider" };

async function machine(cuda = 13) {
  const fake = new FakeCuda(await tempDir());
  fake.plugin = join(fake.directory, CUDA_PLUGIN_FILE);
  await writeFile(fake.plugin, `\0libcudart.so.${cuda}\0`);
  fake.pluginDevices = [CARD];
  const rungs: Record<string, string> = {};
  const open = (index = 0) =>
    new CudaCards(fake.start).open(index, (rung, found) => {
      rungs[rung] = found;
    });
  return { fake, plugin: fake.plugin, rungs, open };
}

describe("the plugin of CUDA", () => {
  it("lies beside the core, or in a wheel under either name", async () => {
    const [beside, packages] = [await tempDir(), await tempDir()];
    expect(findCudaPlugin(beside, [packages])).toBeUndefined();
    await writeFile(join(beside, CUDA_PROVIDER_FILE), "");
    expect(findCudaPlugin(beside, [packages])).toBeUndefined();
    const wheel = join(packages, "onnxruntime_ep_cuda13");
    await mkdir(wheel);
    await writeFile(join(wheel, CUDA_PROVIDER_FILE), "");
    expect(findCudaPlugin(beside, [packages])).toBe(join(wheel, CUDA_PROVIDER_FILE));
    await writeFile(join(beside, CUDA_PLUGIN_FILE), "");
    expect(findCudaPlugin(beside, [packages])).toBe(join(beside, CUDA_PLUGIN_FILE));
  });

  it.each(["CUDAExecutionProvider", "CudaPluginExecutionProvider"])(
    "is preferred, whatever its release, and the other form need not be there: %s",
    async (provider) => {
      const { fake, plugin, rungs, open } = await machine();
      await rm(join(fake.directory, CUDA_PROVIDER_FILE));
      fake.pluginDevices = [{ ...CARD, provider }];
      const { facts } = await open();
      expect(facts).toMatchObject({ provider: plugin, plugin: { handle: 7n } });
      expect(facts.runtime).toContain("cudart");
      expect(fake.registered).toEqual([`CUDAExecutionProvider ${plugin}`]);
      expect(rungs.provider).toBe(`${plugin} (plugin)`);
    },
  );

  it("has the card of a number among its devices", async () => {
    const { fake, open } = await machine();
    fake.cards = [...fake.cards, ...fake.cards];
    const gpu = { handle: 9n, provider: "WebGpuExecutionProvider" };
    fake.pluginDevices = [gpu, CARD, { ...CARD, handle: 8n }];
    expect((await open(1)).facts.plugin?.handle).toBe(8n);
  });

  it("has the card whose number it says, whatever the order of the system's list", async () => {
    const { fake, open } = await machine();
    fake.cards = [...fake.cards, ...fake.cards];
    fake.pluginDevices = [
      { ...CARD, handle: 8n, number: 1 },
      { ...CARD, number: 0 },
    ];
    expect((await open(1)).facts.plugin?.handle).toBe(8n);
  });

  it("gives way where it takes two cards of one model for the same", async () => {
    const { fake, rungs, open } = await machine();
    fake.cards = [...fake.cards, ...fake.cards];
    fake.pluginDevices = [
      { ...CARD, number: 0 },
      { ...CARD, handle: 8n, number: 0 },
    ];
    expect((await open(1)).facts.plugin).toBeUndefined();
    expect(rungs.provider).toMatch(/sees 2 cards on this machine, none of which is number 1\./);
  });

  it.each<[string, (fake: FakeCuda) => void, RegExp]>([
    [
      "is no plugin",
      (fake) => {
        fake.pluginFailure = cudaAnswer("a library that is no plugin");
      },
      /, not .+: .*CreateEpFactories/,
    ],
    [
      "sees no card, as in a container without the system's list",
      (fake) => {
        fake.pluginDevices = [];
      },
      /, not .+: The plugin .+ sees no card/,
    ],
  ])("gives way to the other form, which says why, where it %s", async (_, prepare, why) => {
    const { fake, rungs, open } = await machine();
    prepare(fake);
    const { facts } = await open();
    expect(facts.plugin).toBeUndefined();
    expect(facts.provider).toBe(join(fake.directory, CUDA_PROVIDER_FILE));
    expect(rungs.provider).toMatch(why);
  });

  it("gives way where the driver is too old for it, and the other form is for CUDA 12", async () => {
    const { fake, rungs, open } = await machine(13);
    const older = new FakeCuda(fake.directory, "1.30.0", 12);
    expect(older.directory).toBe(fake.directory);
    fake.driverVersion = 12_080;
    expect((await open()).facts.plugin).toBeUndefined();
    expect(rungs.provider).toMatch(/CUDA 12\), not .*Install a newer NVIDIA driver/);
  });
});

describe("plugins of the real core", () => {
  it("are refused with the loader's words, and the CPU is always among the devices", async () => {
    const thread = new DeviceThread("plugins");
    const plugins = new ProviderPlugins(loadOrt(), thread);
    const directory = await tempDir();
    await expect(plugins.register("nothing", join(directory, "nothing.so"))).rejects.toThrow(
      /^(?:Failed to load library|.*nothing\.so)/,
    );
    const ort = loadOrt();
    const [cpu] = await plugins.devices("cuda_device_id");
    expect(cpu).toMatchObject({ provider: "CPUExecutionProvider", number: undefined });
    // What the core says of every provider's devices.
    expect(ort.entryOf("EpDevice_EpMetadata", cpu!.handle, "version")).toBe(ort.version);
    const options = ort.create("CreateSessionOptions");
    expect(await thread.call([plugins.append(options, cpu!, { some: "option" })])).toEqual([null]);
    ort.release("ReleaseSessionOptions", options);
    await thread.end();
  });
});
