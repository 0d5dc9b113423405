// The ladder to a device on whatever machine this is: what is not there fails with what to do, and what is there computes.

import { expect, it, vi } from "vitest";
import { checkDevice, findHalfFloats } from "../../../src/cli/doctor/check-device.ts";
import { resolveSettings } from "../../../src/cli/settings.ts";

const check = (device: string) =>
  checkDevice({
    settings: resolveSettings({ device }, {}),
    signal: new AbortController().signal,
  });

it("says nothing about the CPU", async () => {
  expect(await check("cpu")).toEqual([]);
});

it("names the rung that fails on the way to a card that is not there, and what to do", async () => {
  const last = (await check("cuda:31")).at(-1)!;
  expect(last).toMatchObject({ verdict: "fail", found: { en: "cannot be used" } });
  expect(JSON.stringify(last.advice)).toMatch(
    /cuda:31.*\((?:driver|version|card|capability|provider|libraries)\): |needs an NVIDIA driver/,
  );
});

it("compares an adapter of WebGPU with the golden checkpoint, or says what it needs", async () => {
  const findings = await check("webgpu");
  const last = findings.at(-1)!;
  if (findings.length === 1) {
    expect(last.verdict).toBe("fail");
    expect(JSON.stringify(last.advice)).toMatch(/Direct3D 12, Metal or Vulkan/);
  } else {
    expect(findings[0]).toMatchObject({ verdict: "ok", found: { en: "computes" } });
    expect(findings[1]).toMatchObject({ verdict: "ok", what: { en: "16-bit floats" } });
    expect(last.what).toMatchObject({ en: "Golden checkpoint" });
  }
});

it("says what to take instead of a precision that an adapter has not", async () => {
  const lacking = vi.fn(async (): Promise<string | undefined> => "it has no shader-f16");
  expect(await findHalfFloats("q4f16", lacking)).toMatchObject({
    verdict: "fail",
    found: { en: "cannot be used: it has no shader-f16" },
    advice: { en: "This device has no precision q4f16. Use q4 or fp32" },
  });
  for (const precision of ["q4", "fp32", undefined] as const) {
    expect((await findHalfFloats(precision, lacking)).verdict).toBe("ok");
  }
  lacking.mockResolvedValue(undefined);
  expect((await findHalfFloats("fp16", lacking)).verdict).toBe("ok");
});

it("says which device is taken where none is named", async () => {
  const [first] = await check("auto");
  expect(first).toMatchObject({
    verdict: "ok",
    found: expect.stringMatching(/^The device "auto" is (?:cuda:0|webgpu|cpu)/),
  });
});
