import { describe, expect, it } from "vitest";
import { LiveOptions } from "../../src/bot/live-options.ts";

interface Options {
  readonly limits: { readonly perMinute: number };
  readonly admins: readonly string[];
  readonly chats: Readonly<Record<string, { readonly text: string }>>;
  readonly model: object;
}

describe("LiveOptions", () => {
  it("is a view that follows, however deep, of lists too", () => {
    const model = {};
    const live = new LiveOptions<Options>({
      limits: { perMinute: 1 },
      admins: ["1"],
      chats: { a: { text: "A" } },
      model,
    });
    const { limits, admins, chats } = live.view;
    const chat = chats.a;
    expect([limits.perMinute, [...admins], chat?.text]).toEqual([1, ["1"], "A"]);
    live.replace({
      limits: { perMinute: 2 },
      admins: ["2", "3"],
      chats: { b: { text: "B" } },
      model,
    });
    expect([limits.perMinute, [...admins], admins.includes("3")]).toEqual([2, ["2", "3"], true]);
    expect([Object.keys(chats), chat?.text, chats.b?.text]).toEqual([["b"], undefined, "B"]);
    expect(live.view.model).toBe(model);
    expect({ ...live.view.limits }).toEqual({ perMinute: 2 });
    expect(JSON.parse(JSON.stringify(live.view))).toEqual(JSON.parse(JSON.stringify(live.current)));
    expect(Array.isArray(admins)).toBe(true);
  });

  it("cannot be written to", () => {
    const { view } = new LiveOptions({ limits: { perMinute: 1 } });
    expect(() => {
      (view.limits as { perMinute: number }).perMinute = 5;
    }).toThrow(TypeError);
    expect(view.limits.perMinute).toBe(1);
  });
});
