import { describe, expect, it } from "vitest";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { Sender } from "../../../src/bot/napcat/send.ts";
import { replySegments } from "../../../src/bot/reply/segments.ts";
import { FakeNapCat } from "../../../src/bot/testing.ts";

const group = { kind: "group", id: "7" } as const;
const person = { kind: "private", id: "5" } as const;
const hello = replySegments("你好");

function setUp() {
  const napcat = new FakeNapCat();
  return { napcat, sender: new Sender(new NapCatCalls(napcat)) };
}

describe("Sender", () => {
  it("sends segment arrays to groups and people, and names no group in private", async () => {
    const { napcat, sender } = setUp();
    await sender.send(
      group,
      { kind: "group", groupId: "7" },
      replySegments("你好", { quotedId: "12" }),
    );
    await sender.send(person, { kind: "private", userId: "5" }, hello);
    await sender.send(person, { kind: "private", userId: "5", groupId: "7" }, hello);
    const session = { kind: "private", userId: "5", temporary: true, groupId: "7" } as const;
    await sender.send(person, session, hello);
    const text = { type: "text", data: { text: "你好" } };
    expect(napcat.calls).toEqual([
      {
        action: "send_group_msg",
        params: { group_id: 7, message: [{ type: "reply", data: { id: "12" } }, text] },
      },
      { action: "send_private_msg", params: { user_id: 5, message: [text] } },
      { action: "send_private_msg", params: { user_id: 5, message: [text] } },
      { action: "send_private_msg", params: { user_id: 5, message: [text] } },
    ]);
  });

  it("leaves codes in the text alone: they are text", async () => {
    const { napcat, sender } = setUp();
    const codes = "[CQ:at,qq=all][CQ:image,file=file:///etc/passwd]";
    await sender.send(group, { kind: "group", groupId: "7" }, replySegments(codes));
    expect(napcat.sent[0]?.params.message).toEqual([{ type: "text", data: { text: codes } }]);
  });

  it("remembers what it sent, in which chat", async () => {
    const { napcat, sender } = setUp();
    napcat.answer("send_group_msg", { message_id: 42 });
    await sender.send(group, { kind: "group", groupId: "7" }, hello);
    expect(sender.hasSent(group, "42")).toBe(true);
    expect(sender.hasSent(group, "43")).toBe(false);
    expect(sender.hasSent({ kind: "group", id: "8" }, "42")).toBe(false);
  });

  it("does not send again when nobody knows whether it was sent", async () => {
    const { napcat, sender } = setUp();
    napcat.refuse("send_group_msg", "Timeout: NTEvent sendMsg");
    const sending = sender.send(group, { kind: "group", groupId: "7" }, hello);
    await expect(sending).rejects.toMatchObject({ outcome: "unknown" });
    expect(napcat.sent).toHaveLength(1);
  });
});
