// Windows moves no directory to a path where one is, not even an empty one; Linux and macOS do.

import { mkdir, readdir, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { describe, expect, it, vi } from "vitest";
import { StagingDirectory } from "../../../src/vlm/convert/staging.ts";
import { tempDir } from "../../support/temp-dir.ts";

vi.mock("node:fs/promises", async (importOriginal) => {
  const real = await importOriginal<typeof import("node:fs/promises")>();
  return {
    ...real,
    rename: async (from: string, to: string) => {
      const taken = await real.stat(to).catch(() => undefined);
      if (taken) throw Object.assign(new Error("EPERM: not permitted, rename"), { code: "EPERM" });
      return real.rename(from, to);
    },
  };
});

describe("StagingDirectory on Windows", () => {
  it.each(["nothing", "an empty directory", "a directory"])("publishes over %s", async (there) => {
    const target = join(await tempDir(), "package");
    if (there !== "nothing") await mkdir(target);
    if (there === "a directory") await writeFile(join(target, "old"), "");
    const staging = await StagingDirectory.create(target, {
      assertReplaceable: async () => {},
      keyFile: "new",
    });
    await writeFile(join(staging.dir, "new"), "");
    await staging.publish();
    await staging.discard();
    expect(await readdir(target)).toEqual(["new"]);
  });
});
