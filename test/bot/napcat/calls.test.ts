import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { FakeNapCat } from "../../../src/bot/testing.ts";
import { readEvent } from "../../support/events.ts";

const never = () => new Promise(() => {});

function setUp() {
  const napcat = new FakeNapCat();
  return { napcat, calls: new NapCatCalls(napcat) };
}

/** Makes an action fail as the answer of a fixture says. */
function failAs(napcat: FakeNapCat, action: string, fixture: string): void {
  napcat.answer(action, () => {
    throw readEvent(fixture);
  });
}

describe("NapCatCalls", () => {
  beforeEach(() => void vi.useFakeTimers());
  afterEach(() => void vi.useRealTimers());

  it("resolves with the data and leaves no timer behind", async () => {
    const { calls } = setUp();
    await expect(calls.call("get_login_info", {})).resolves.toMatchObject({ user_id: 3000000001 });
    expect([calls.pending, vi.getTimerCount()]).toEqual([0, 0]);
  });

  it.each([
    ["get_msg", "api_get_msg_failed_unknown", "refused", 1200],
    ["send_group_msg", "api_send_timeout_maybe_sent", "unknown", 1200],
    ["send_group_msg", "api_send_failed_removed_from_group", "refused", 1200],
    ["send_group_msg", "api_send_failed_rich_media", "refused", 1200],
    ["set_x", "api_unsupported_1404", "refused", 1404],
    ["send_group_msg", "api_param_error_1400", "refused", 1400],
  ])("wraps what %s is answered in %s", async (action, fixture, outcome, retcode) => {
    const { napcat, calls } = setUp();
    failAs(napcat, action, fixture);
    await expect(calls.call(action, {})).rejects.toMatchObject({
      name: "OneBotCallError",
      code: "onebot-call-failed",
      action,
      outcome,
      retcode,
    });
  });

  it("knows what node-napcat-ts says of its own", async () => {
    const { napcat, calls } = setUp();
    napcat.refuse("send_group_msg", "api socket is not connected", -1);
    await expect(calls.call("send_group_msg", {})).rejects.toMatchObject({ outcome: "not-sent" });
    napcat.refuse("send_group_msg", "api response timeout", -1);
    await expect(calls.call("send_group_msg", {})).rejects.toMatchObject({ outcome: "unknown" });
  });

  it("wraps errors of other clients and synchronous throws", async () => {
    const calls = new NapCatCalls({
      on() {},
      off() {},
      send() {
        throw new Error("at https://x.y/?rkey=CANARY");
      },
    });
    const error = await calls.call("get_msg", {}).catch((error: Error) => error);
    expect(error).toMatchObject({ name: "OneBotCallError", outcome: "unknown" });
    expect(String(error)).not.toContain("CANARY");
  });

  it("gives every kind of action its own deadline", async () => {
    const { napcat, calls } = setUp();
    const outcomes: string[] = [];
    for (const action of ["get_msg", "get_image", "send_group_msg"]) {
      napcat.answer(action, never);
      calls.call(action, {}).catch(() => outcomes.push(action));
    }
    await vi.advanceTimersByTimeAsync(12_000);
    expect(outcomes).toEqual(["get_msg"]);
    await vi.advanceTimersByTimeAsync(48_000);
    expect(outcomes).toEqual(["get_msg", "get_image", "send_group_msg"]);
    expect(vi.getTimerCount()).toBe(0);
  });

  it("settles everything at once when the connection breaks, and works on after it", async () => {
    const { napcat, calls } = setUp();
    napcat.answer("send_group_msg", never).answer("get_msg", never);
    const send = calls.call("send_group_msg", {});
    const read = calls.call("get_msg", {});
    napcat.emit("socket.close", { code: 1006 });
    await expect(send).rejects.toMatchObject({ outcome: "unknown" });
    await expect(read).rejects.toMatchObject({ name: "OneBotCallError" });
    await expect(calls.call("get_login_info", {})).resolves.toBeDefined();
  });

  it("settles everything at close, refuses later calls and stops listening", async () => {
    const { napcat, calls } = setUp();
    napcat.answer("get_msg", never);
    const read = calls.call("get_msg", {});
    calls.close();
    await expect(read).rejects.toMatchObject({ outcome: "unknown" });
    await expect(calls.call("get_msg", {})).rejects.toMatchObject({ outcome: "not-sent" });
    expect([napcat.listeners, napcat.calls.length]).toEqual([0, 1]);
  });

  it("rejects with the reason when aborted, and does not call at all if that was before", async () => {
    const { napcat, calls } = setUp();
    napcat.answer("get_msg", never);
    const controller = new AbortController();
    const call = calls.call("get_msg", {}, { signal: controller.signal });
    controller.abort("recalled");
    await expect(call).rejects.toBe("recalled");
    await expect(calls.call("get_msg", {}, { signal: controller.signal })).rejects.toBe("recalled");
    expect([napcat.calls.length, calls.pending, vi.getTimerCount()]).toEqual([1, 0, 0]);
  });
});
