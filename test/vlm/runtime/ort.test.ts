import { describe, expect, it } from "vitest";
import { ModelLoadError } from "../../../src/vlm/errors.ts";
import { availableProviders, unavailable } from "../../../src/vlm/runtime/device.ts";
import { loadOrt, Ort } from "../../../src/vlm/runtime/ort.ts";
import { OrtError } from "../../../src/vlm/runtime/ort-error.ts";
import { expectVersion, libraryOf, ORT_VERSION } from "../../../src/vlm/runtime/ort-library.ts";

describe("loadOrt", () => {
  it("opens the pinned version once", () => {
    expect(loadOrt().version).toBe(ORT_VERSION);
    expect(loadOrt()).toBe(loadOrt());
  });

  it("turns a failed status into an error with its code", async () => {
    const ort = loadOrt();
    const options = ort.create("CreateSessionOptions");
    expect(() => ort.call("AddSessionConfigEntry", options, "", "1")).toThrow(OrtError);
    await expect(ort.callAsync("AddSessionConfigEntry", options, "", "1")).rejects.toMatchObject({
      code: "invalid-argument",
    });
    ort.release("ReleaseSessionOptions", options);
  });
});

/** What koffi makes of a library whose `GetApi` returns a null pointer, as every older one does for a newer version. */
function koffiWithoutTable(version: string) {
  const functions: Readonly<Record<string, () => unknown>> = {
    "10": () => null,
    "20": () => version,
  };
  return {
    load: () => ({ func: () => () => 1n }),
    proto: () => "prototype",
    decode: (address: bigint, type: string, count?: number) =>
      type === "void *" && count === 2 ? [10n, 20n] : functions[String(address)],
  } as unknown as ConstructorParameters<typeof Ort>[0];
}

describe("another ONNX Runtime in the place of the right one", () => {
  it.each(["1.21.0", ORT_VERSION])(
    "of version %s is refused, and nothing of it is called",
    (version) => {
      const opening = () => new Ort(koffiWithoutTable(version), "/usr/lib/libonnxruntime.so.1");
      expect(opening).toThrow(ModelLoadError);
      expect(opening).toThrow(
        new RegExp(`needs ONNX Runtime ${ORT_VERSION}, but .*${version}.*/usr/lib/libonnxruntime`),
      );
    },
  );
});

describe("expectVersion", () => {
  it("accepts the pinned version only, and says what to install", () => {
    expectVersion(ORT_VERSION, "it");
    expect(() => expectVersion("1.29.1", "the package onnxruntime-node")).toThrow(
      "Expected ONNX Runtime 1.29.0 or 1.30.0, but the package onnxruntime-node is version 1.29.1. " +
        "Run `npm install onnxruntime-node@1.30.0`.",
    );
    expect(() => expectVersion(undefined, "it")).toThrow(ModelLoadError);
  });
});

describe("libraryOf", () => {
  it("knows the library of each platform", () => {
    expect(libraryOf("linux", "x64").join("/")).toBe("bin/napi-v6/linux/x64/libonnxruntime.so.1");
    expect(libraryOf("win32", "x64").at(-1)).toBe("onnxruntime.dll");
    expect(libraryOf("darwin", "arm64").at(-1)).toBe("libonnxruntime.1.dylib");
  });

  it("says which platforms there are", () => {
    expect(() => libraryOf("darwin", "x64")).toThrow(/no library for darwin on x64.*linux-x64/);
  });
});

describe("devices", () => {
  it("lists the providers of the library", () => {
    expect(availableProviders()).toContain("CPUExecutionProvider");
  });

  it("says what to install for a device that cannot be used", () => {
    const error = unavailable("cuda:0", new Error("no such library"));
    expect(error).toMatchObject({ code: "device-unavailable", cause: expect.any(Error) });
    expect(error.message).toMatch(/"cuda:0" cannot be used.*Or use device "cpu"/);
    expect(unavailable("webgpu").message).toContain("Vulkan");
  });
});
