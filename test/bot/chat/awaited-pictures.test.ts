import { describe, expect, it } from "vitest";
import { AwaitedPictures } from "../../../src/bot/chat/awaited-pictures.ts";
import { groupMessage } from "../../../src/bot/testing.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { parseEvent } from "../../support/parse-event.ts";

const GROUP = { kind: "group", id: "7" } as const;
const said = (userId: number, images: readonly Uint8Array[] = [], groupId = 7) =>
  parseEvent(groupMessage({ text: "这是什么", userId, images, groupId }));
const question = () => ({ pieces: [said(41)], trigger: "mention" }) as const;

describe("AwaitedPictures", () => {
  it("completes a question with the next picture of the same person in the same chat, once", () => {
    const awaited = new AwaitedPictures(() => 1000);
    const asked = question();
    awaited.expect(asked);
    expect(awaited.take(said(42, [PIXEL_PNG]))).toBeUndefined();
    expect(awaited.take(said(41, [PIXEL_PNG], 8))).toBeUndefined();
    expect(awaited.take(said(41))).toBeUndefined();
    expect(awaited.take(said(41, [PIXEL_PNG]))).toMatchObject(asked);
    expect(awaited.take(said(41, [PIXEL_PNG]))).toBeUndefined();
  });

  it("waits no longer than it is told, and not at all for 0", () => {
    let nowMs = 0;
    const awaited = new AwaitedPictures(
      () => 1000,
      () => nowMs,
    );
    awaited.expect(question());
    nowMs = 1000;
    expect(awaited.take(said(41, [PIXEL_PNG]))).toBeUndefined();
    const never = new AwaitedPictures(() => 0);
    never.expect(question());
    expect(never.take(said(41, [PIXEL_PNG]))).toBeUndefined();
  });

  it.each<[string, (awaited: AwaitedPictures, messageId: string) => void]>([
    ["is taken back", (awaited, messageId) => awaited.forgetMessage(GROUP, messageId)],
    ["is of a chat that is reset", (awaited) => awaited.reset(GROUP)],
    ["is of a person who is forgotten", (awaited) => awaited.forgetPerson("41")],
    ["is followed by another one", (awaited) => awaited.forget(said(41))],
  ])("forgets a question that %s, and no other", (_what, forget) => {
    const awaited = new AwaitedPictures(() => 1000);
    const asked = question();
    awaited.expect(asked);
    awaited.expect({ pieces: [said(41, [], 70)], trigger: "mention" });
    awaited.expect({ pieces: [said(410, [], 8)], trigger: "mention" });
    forget(awaited, asked.pieces[0].messageId);
    expect(awaited.take(said(41, [PIXEL_PNG]))).toBeUndefined();
    expect(awaited.take(said(410, [PIXEL_PNG], 8))).toBeDefined();
  });
});
