import { setImmediate } from "node:timers/promises";
import { expect, it } from "vitest";
import { loadSharp } from "../../../src/vlm/image/sharp.ts";

it("is loaded piece by piece, with the event loop in between", async () => {
  let loaded = false;
  const loading = loadSharp().then((sharp) => {
    loaded = true;
    return sharp;
  });
  let turns = 0;
  while (!loaded) {
    await setImmediate();
    turns++;
  }
  // A file each: those of sharp itself are more than ten.
  expect(turns).toBeGreaterThan(10);
  const sharp = await loading;
  const pixel = { create: { width: 1, height: 1, channels: 3, background: "red" } } as const;
  expect([...(await sharp(pixel).raw().toBuffer())]).toEqual([255, 0, 0]);
});
