// The speed part of a proof, whole, with the smallest model of noise on the CPU: it ends, and says what it has to say.

import { join } from "node:path";
import { describe, expect, it } from "vitest";
import { Checks } from "../../../src/cli/prove/check.ts";
import { proveSpeed, type SpeedReport } from "../../../src/cli/prove/speed-checks.ts";
import { tempDir } from "../../support/temp-dir.ts";

describe("the speed part of a proof", () => {
  it("measures a model of the size that was named", async () => {
    const [checks, speed]: [Checks, SpeedReport[]] = [new Checks(), []];
    await proveSpeed({
      checks,
      device: "cpu",
      directory: join(await tempDir(), "speed"),
      size: "nano",
      rooflines: undefined,
      questionMs: 0,
      speed,
      signal: new AbortController().signal,
    });
    expect(checks.list).toEqual([
      {
        name: "speed of a nano in w8a8",
        ok: true,
        value: expect.stringMatching(
          /^decode 1 chats .* tok\/s.*; 4 chats .*; prefill 2048 .*; picture of 512 tokens .*; event loop .*; load /,
        ),
      },
    ]);
    const [report] = speed;
    expect(report).toMatchObject({ shape: "nano", decodeShare: undefined });
    expect(report!.measured.decode.map(({ chats }) => chats)).toEqual([1, 4]);
    // One of each step, the warm ones too; of the same weights always the same.
    expect(report!.measured.tokens).toHaveLength(16);
  }, 60_000);
});
