import { afterEach, describe, expect, it } from "vitest";
import { Downloader } from "../../../src/bot/images/download.ts";
import { ImageFetcher } from "../../../src/bot/images/fetch-image.ts";
import { NapCatCalls } from "../../../src/bot/napcat/calls.ts";
import { type ImageReference, parseMessageEvent } from "../../../src/bot/napcat/events.ts";
import { FakeNapCat } from "../../../src/bot/testing.ts";
import { PIXEL_PNG, readEvent } from "../../support/events.ts";
import {
  expired,
  type PictureHandler,
  type PictureServer,
  startPictureServer,
} from "../../support/picture-server.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0)) await cleanup();
});

const FILE = "A8A63B4D63A08AED720D0F5F249E07D9.jpg";

async function setUp(
  handlers: Readonly<Record<string, PictureHandler | Uint8Array>> = {},
  limits: { maxBytes?: number; timeoutMs?: number; concurrency?: number } = {},
) {
  const server = await startPictureServer(handlers);
  const napcat = new FakeNapCat();
  // The test server has an address; whoever asks for a name wants to go to the internet.
  const lookups: string[] = [];
  const policy = { extraHosts: [server.host], allowPrivateAddresses: true };
  const downloader = new Downloader(policy, (host, _options, callback) => {
    lookups.push(host);
    callback(Object.assign(new Error(host), { code: "ENOTFOUND" }), "");
  });
  const calls = new NapCatCalls(napcat);
  const fetcher = new ImageFetcher(calls, downloader, {
    maxBytes: 1_000_000,
    timeoutMs: 20_000,
    concurrency: 4,
    ...limits,
  });
  cleanups.push(
    () => downloader.close(),
    () => server.close(),
  );
  const actions = () => napcat.calls.map(({ action }) => action);
  return { server, napcat, fetcher, actions, lookups };
}

function reference(url: string, more: Partial<ImageReference> = {}): ImageReference {
  return { file: FILE, url, bytes: 100, messageId: "77", index: 0, marketFace: false, ...more };
}

/** What get_msg answers: message 77 with pictures at these places. */
function message(server: PictureServer, ...paths: string[]) {
  return {
    ...readEvent("group_image_only"),
    message_id: 77,
    message: paths.map((path, index) => ({
      type: "image",
      data: { file: index === 0 ? FILE : `OTHER${index}.jpg`, url: server.url(path) },
    })),
  };
}

function imageOf(fixture: string): ImageReference {
  const parsed = parseMessageEvent(readEvent(fixture));
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  for (const segment of parsed.message.segments) if (segment.type === "image") return segment.image;
  throw new Error("no picture");
}

const hang: PictureHandler = () => {};

describe("ImageFetcher", () => {
  it("takes the link of the event when it works, and asks NapCat nothing", async () => {
    const { server, fetcher, actions } = await setUp({ "/a": PIXEL_PNG });
    expect(await fetcher.fetch(reference(server.url("/a")))).toHaveLength(PIXEL_PNG.length);
    expect(actions()).toEqual([]);
  });

  it("asks for a fresh link once when the first one has expired", async () => {
    const { server, napcat, fetcher } = await setUp({ "/old": expired, "/new": PIXEL_PNG });
    napcat.answer("get_msg", message(server, "/new"));

    expect(await fetcher.fetch(reference(server.url("/old")))).toHaveLength(PIXEL_PNG.length);

    expect(napcat.calls).toEqual([{ action: "get_msg", params: { message_id: 77 } }]);
    expect(server.requests).toEqual(["/old", "/new"]);
  });

  it("takes the same picture of the message, by place and by name", async () => {
    const jpeg = Uint8Array.from([0xff, 0xd8, 0xff, 1]);
    const { server, napcat, fetcher } = await setUp({ "/0": PIXEL_PNG, "/1": jpeg });
    napcat.answer("get_msg", message(server, "/0", "/1"));
    const byPlace = reference("", { file: "renamed", index: 1 });
    const byName = reference("", { file: "OTHER1.jpg", index: 0 });
    expect(await fetcher.fetch(byPlace)).toHaveLength(4);
    expect(await fetcher.fetch(byName)).toHaveLength(4);
  });

  it("starts with NapCat for an empty link and for one that is known to be dead", async () => {
    for (const fixture of ["group_image_empty_url", "group_image_fallback_rkey"]) {
      const { server, napcat, fetcher, actions, lookups } = await setUp({ "/new": PIXEL_PNG });
      napcat.answer("get_msg", message(server, "/new"));
      const image = imageOf(fixture);
      await expect(fetcher.fetch({ ...image, file: FILE })).resolves.toBeInstanceOf(Uint8Array);
      expect([actions(), lookups]).toEqual([["get_msg"], []]);
    }
  });

  it("takes NapCat's own copy, as base64 or by its link, when the fresh link is dead too", async () => {
    const { server, napcat, fetcher, actions } = await setUp({ "/old": expired, "/c": PIXEL_PNG });
    napcat.answer("get_msg", message(server, "/old"));
    napcat.answer("get_image", { base64: Buffer.from(PIXEL_PNG).toString("base64") });
    expect(await fetcher.fetch(reference(server.url("/old")))).toHaveLength(PIXEL_PNG.length);
    expect(actions()).toEqual(["get_msg", "get_image"]);
    expect(server.requests, "the same dead link is not tried twice").toEqual(["/old"]);

    napcat.answer("get_image", { file: "/root/x.png", url: server.url("/c") });
    expect(await fetcher.fetch(reference(server.url("/old")))).toHaveLength(PIXEL_PNG.length);
  });

  it("names the first reason when nothing works, after one call of each kind", async () => {
    const { server, napcat, fetcher, actions } = await setUp({ "/old": expired, "/new": expired });
    napcat.answer("get_msg", message(server, "/new"));
    napcat.refuse("get_image", String(readEvent("api_get_image_failed_timeout").message));
    await expect(fetcher.fetch(reference(server.url("/old")))).rejects.toMatchObject({
      code: "expired",
    });
    expect(actions()).toEqual(["get_msg", "get_image"]);
  });

  it("never fetches a path of NapCat's machine or a forged address", async () => {
    const { napcat, fetcher, actions } = await setUp();
    napcat.answer("get_msg", { ...readEvent("group_image_only"), message: [] });
    napcat.answer("get_image", { file: "/root/x.png", url: "/root/x.png" });
    await expect(fetcher.fetch(reference("http://169.254.169.254/x"))).rejects.toMatchObject({
      code: "url-refused",
    });
    await expect(fetcher.fetch(reference("file:///etc/passwd"))).rejects.toMatchObject({
      code: "url-refused",
    });
    await expect(fetcher.fetch(reference(""))).rejects.toMatchObject({ code: "unavailable" });
    expect(new Set(actions())).toEqual(new Set(["get_msg", "get_image"]));
  });

  it.each(["../../etc/passwd", "/etc/passwd", "http://a.b/c", "a b", "猫.jpg"])(
    "does not make NapCat search its files for %j",
    async (file) => {
      const { fetcher, actions } = await setUp();
      await expect(fetcher.fetch(reference("", { file }))).rejects.toThrow();
      expect(actions()).toEqual(["get_msg"]);
    },
  );

  it("does not ask get_image for stickers of the shop, which it does not know", async () => {
    const { fetcher, actions } = await setUp();
    await expect(
      fetcher.fetch({ ...imageOf("group_market_face_as_image"), url: "" }),
    ).rejects.toThrow();
    expect(actions()).toEqual(["get_msg"]);
  });

  it("refuses a picture that is too large before anything is asked", async () => {
    const { fetcher, actions, server } = await setUp({}, { maxBytes: 20 * 1024 * 1024 });
    await expect(fetcher.fetch(imageOf("group_image_large"))).rejects.toMatchObject({
      code: "too-large",
      maxBytes: 20 * 1024 * 1024,
    });
    expect([actions(), server.requests]).toEqual([[], []]);
  });

  it("does not ask elsewhere for a picture that turns out too large", async () => {
    const big = Buffer.concat([PIXEL_PNG, Buffer.alloc(2000)]);
    const { server, fetcher, actions } = await setUp({ "/a": big }, { maxBytes: 1000 });
    await expect(fetcher.fetch(reference(server.url("/a")))).rejects.toMatchObject({
      code: "too-large",
    });
    expect(actions()).toEqual([]);
  });

  it("reads pictures that travel inside the message", async () => {
    const { fetcher, actions } = await setUp({}, { maxBytes: 100 });
    const base64 = Buffer.from(PIXEL_PNG).toString("base64");
    for (const text of [`base64://${base64}`, `data:image/png;base64,${base64}`]) {
      expect(await fetcher.fetch(reference(text))).toHaveLength(PIXEL_PNG.length);
      expect(await fetcher.fetch(reference("", { file: text }))).toHaveLength(PIXEL_PNG.length);
    }
    const large = `base64://${Buffer.alloc(101).toString("base64")}`;
    await expect(fetcher.fetch(reference(large))).rejects.toMatchObject({ code: "too-large" });
    expect(actions()).toEqual([]);
  });

  it("moves on from a server that hangs, and gives up when the time of the picture is over", async () => {
    const patient = await setUp({ "/slow": hang, "/new": PIXEL_PNG }, { timeoutMs: 5_000 });
    patient.napcat.answer("get_msg", message(patient.server, "/new"));
    const slow = reference(patient.server.url("/slow"));
    expect(await patient.fetcher.fetch(slow)).toHaveLength(PIXEL_PNG.length);

    const hurried = await setUp({ "/slow": hang }, { timeoutMs: 5_000 });
    hurried.napcat.answer("get_msg", () => new Promise(() => {}));
    hurried.napcat.answer("get_image", () => new Promise(() => {}));
    const never = hurried.fetcher.fetch(reference(hurried.server.url("/slow")));
    await expect(never).rejects.toMatchObject({ code: "timed-out" });
    expect(hurried.actions().slice(-2)).toEqual(["get_msg", "get_image"]);
  });

  it("rejects with the reason when aborted, running or waiting", async () => {
    const { server, fetcher } = await setUp({ "/slow": hang }, { concurrency: 1 });
    const running = new AbortController();
    const waiting = new AbortController();
    const first = fetcher.fetch(reference(server.url("/slow")), running.signal);
    const second = fetcher.fetch(reference(server.url("/slow")), waiting.signal);
    while (server.requests.length === 0) await new Promise(setImmediate);
    waiting.abort("second recalled");
    await expect(second).rejects.toBe("second recalled");
    running.abort("first recalled");
    await expect(first).rejects.toBe("first recalled");
    expect(server.requests).toHaveLength(1);
  });
});
