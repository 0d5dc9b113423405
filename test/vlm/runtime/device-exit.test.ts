// The end of a process with a provider loaded: what is released, where and in which order, on cards that are played. That it
// has to be was seen with the real provider: a process that had loaded it and left the environment behind crashed.

import { describe, expect, it } from "vitest";
import { CudaCards } from "../../../src/vlm/runtime/cuda-cards.ts";
import { DeviceExit } from "../../../src/vlm/runtime/device-exit.ts";
import { FakeCuda, ORT_ILLEGAL_ACCESS } from "../../support/fake-cuda.ts";
import { tempDir } from "../../support/temp-dir.ts";

async function twoCards() {
  const fake = new FakeCuda(await tempDir());
  fake.cards = [...fake.cards, ...fake.cards];
  const cards = new CudaCards(fake.start);
  const ends: (() => void)[] = [];
  const exit = new DeviceExit((end) => ends.push(end));
  const [one, two] = [await cards.open(0), await cards.open(1)];
  const end = () => {
    for (const each of ends) each();
    return fake.atExit;
  };
  return { fake, one, two, exit, ends, end };
}

describe("the end of a process", () => {
  it("concerns nobody who loaded no provider", async () => {
    const { exit, one, ends, end } = await twoCards();
    exit.keepSession(one, 1n);
    expect(ends).toEqual([]);
    expect(end()).toEqual([]);
  });

  it("releases the environment of a provider that no session came to use", async () => {
    const { fake, exit, end } = await twoCards();
    exit.keepProvider(fake.exiting);
    expect(end()).toEqual(["ReleaseEnv"]);
  });

  it("releases sessions on the threads of their cards, and the environment once, last of all", async () => {
    const { fake, exit, one, two, ends, end } = await twoCards();
    exit.keepProvider(fake.exiting);
    exit.keepProvider(fake.exiting);
    for (const session of [1n, 2n, 3n]) exit.keepSession(one, session);
    exit.keepSession(two, 4n);
    exit.endSession(one, 2n);
    expect(ends).toHaveLength(1);
    expect(end()).toEqual([
      "cuda:0 ReleaseSession ReleaseSession",
      "cuda:1 ReleaseSession",
      "ReleaseEnv",
    ]);
  });

  it("leaves sessions of a lost card as they are, and releases the environment all the same", async () => {
    const { fake, exit, one, two, end } = await twoCards();
    exit.keepProvider(fake.exiting);
    exit.keepSession(one, 1n);
    exit.keepSession(two, 2n);
    for (const card of [one, two]) {
      await expect(card.call([fake.ortCall(ORT_ILLEGAL_ACCESS)])).rejects.toMatchObject({
        code: "device-lost",
      });
    }
    expect(end()).toEqual(["ReleaseEnv"]);
  });

  it("does not wait for a thread that has ended", async () => {
    const { fake, exit, one, end } = await twoCards();
    exit.keepProvider(fake.exiting);
    exit.keepSession(one, 1n);
    await one.thread.end();
    expect(end()).toEqual(["ReleaseEnv"]);
  });

  it("leaves the environment to a run that does not come to an end", async () => {
    const { fake, exit, one, two, end } = await twoCards();
    exit.keepProvider(fake.exiting);
    exit.keepSession(one, 1n);
    exit.keepSession(two, 2n);
    fake.lateThreads.add("cuda:0");
    expect(end()).toEqual(["cuda:0 ReleaseSession", "cuda:1 ReleaseSession"]);
  });
});
