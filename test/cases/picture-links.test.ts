// Where a picture's link is, links without a key, one picture twice: cases from the field, and others of their kinds.

import { afterEach, describe, expect, it } from "vitest";
import { Downloader } from "../../src/bot/images/download.ts";
import { ImageFetcher } from "../../src/bot/images/fetch-image.ts";
import { NapCatCalls } from "../../src/bot/napcat/calls.ts";
import { type ImageReference, parseMessageEvent } from "../../src/bot/napcat/events.ts";
import { FakeNapCat } from "../../src/bot/testing.ts";
import { PIXEL_PNG, readCase } from "../support/events.ts";
import { type PictureHandler, startPictureServer } from "../support/picture-server.ts";
import { playQqNetwork } from "../support/qq-network.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const PRIVATE_KEY = "CAQSKFAKEprivfakeFAKEfakeFAKEfakeFAKEfake00";
const GROUP_KEY = "CAQSKFAKEgrpfakeFAKEfakeFAKEfakeFAKEfake00";

/** QQ's server: it shows a picture to whoever has the right key, and refuses others as the given fixture says. */
const wantsKey =
  (key: string, refusal = readCase("http_image_no_rkey_body")): PictureHandler =>
  (request, response) => {
    const { searchParams } = new URL(request.url ?? "/", "http://x");
    if (searchParams.get("rkey") === key) return response.end(PIXEL_PNG);
    response.writeHead(Number(refusal.http_status), { "content-type": "application/json" });
    return response.end(JSON.stringify(refusal.body));
  };

async function setUp(handler: PictureHandler | Uint8Array) {
  const server = await startPictureServer({}, handler);
  const network = playQqNetwork(server.host);
  const napcat = new FakeNapCat();
  const downloader = new Downloader(
    { extraHosts: [], allowPrivateAddresses: false },
    network.lookup,
  );
  const fetcher = new ImageFetcher(new NapCatCalls(napcat), downloader, {
    maxBytes: 1_000_000,
    timeoutMs: 20_000,
    concurrency: 4,
  });
  cleanups.push(
    () => server.close(),
    () => network.restore(),
    () => downloader.close(),
  );
  return { server, napcat, fetcher, network, actions: () => napcat.calls.map((c) => c.action) };
}

function imagesOf(event: unknown): readonly ImageReference[] {
  const parsed = parseMessageEvent(event);
  if (parsed.kind !== "message") throw new Error(parsed.kind);
  return parsed.message.segments.flatMap((segment) =>
    segment.type === "image" ? [segment.image] : [],
  );
}

/** The event with other data in its only picture. */
function withPicture(event: object, ...pictures: object[]): object {
  return { ...event, message: pictures.map((data) => ({ type: "image", data })) };
}

const first = (event: unknown) => imagesOf(event)[0] as ImageReference;
const noKey = readCase("group_image_no_rkey");
const urlOf = (appid: number | string) =>
  `https://multimedia.nt.qq.com.cn/download?appid=${appid}&fileid=EhTLoxxRW91POcE7hA&spec=0`;

describe("where a picture's link is", () => {
  const urlNull = readCase("group_image_url_null");

  it("fetches the link in `file` when `url` is null", async () => {
    const { fetcher, server, network, actions } = await setUp(PIXEL_PNG);
    expect(await fetcher.fetch(first(urlNull))).toHaveLength(PIXEL_PNG.length);
    expect(network.lookups).toEqual(["multimedia.nt.qq.com.cn"]);
    expect(server.requests[0]).toMatch(/^\/download\?appid=1407&fileid=/u);
    expect(actions()).toEqual([]);
  });

  it.each([
    ["missing", undefined],
    ["empty", ""],
    ["a path of the other machine", "/root/.config/QQ/nt_data/Pic/x.png"],
    ["a file URL", "file:///root/x.png"],
  ])("does so when `url` is %s", async (_name, url) => {
    const { fetcher } = await setUp(PIXEL_PNG);
    const picture = { url, file: "https://gchat.qpic.cn/gchatpic_new/0/0-0-ABC/0" };
    expect(await fetcher.fetch(first(withPicture(urlNull, picture)))).toHaveLength(
      PIXEL_PNG.length,
    );
  });

  it("tries the link in `file` when the one in `url` is dead, and not twice when both are one", async () => {
    const { fetcher, server } = await setUp(wantsKey(GROUP_KEY));
    const picture = { url: `${urlOf(1407)}&rkey=old`, file: `${urlOf(1407)}&rkey=${GROUP_KEY}` };
    await fetcher.fetch(first(withPicture(urlNull, picture)));
    expect(server.requests).toHaveLength(2);
    const same = { url: "https://gchat.qpic.cn/a", file: "https://gchat.qpic.cn/a" };
    await expect(fetcher.fetch(first(withPicture(urlNull, same)))).rejects.toThrow();
    expect(server.requests).toHaveLength(3);
  });

  it("reads a link that is still written as in a CQ code", async () => {
    const { fetcher, server } = await setUp(wantsKey(GROUP_KEY));
    const url = `${urlOf(1407)}&rkey=${GROUP_KEY}`.replaceAll("&", "&amp;");
    for (const picture of [
      { url, file: "A.png" },
      { url: null, file: url },
    ]) {
      await fetcher.fetch(first(withPicture(urlNull, picture)));
    }
    expect(server.requests.every((request) => !request.includes("amp;"))).toBe(true);
  });

  it("holds a link in `file` to the rules of every link", async () => {
    const { fetcher, server } = await setUp(PIXEL_PNG);
    for (const file of ["http://127.0.0.1/x.png", "http://198.18.0.5/x", "https://example.com/x"]) {
      await expect(
        fetcher.fetch(first(withPicture(urlNull, { url: null, file }))),
      ).rejects.toMatchObject({ code: "url-refused" });
    }
    expect(server.requests).toEqual([]);
  });

  it("finds it in what get_msg answers too, of which other servers leave out most", async () => {
    const { fetcher, napcat } = await setUp(PIXEL_PNG);
    napcat.answer("get_msg", {
      message: [{ type: "image", data: { file: "https://gchat.qpic.cn/new", url: null } }],
    });
    await expect(
      fetcher.fetch(first(withPicture(urlNull, { file: "A.png", url: "" }))),
    ).resolves.toHaveLength(PIXEL_PNG.length);
  });

  it("asks get_image by the name beside the link", async () => {
    const { fetcher, napcat } = await setUp((_request, response) => response.writeHead(500).end());
    napcat.answer("get_image", { base64: Buffer.from(PIXEL_PNG).toString("base64") });
    await fetcher.fetch(first(urlNull));
    expect(napcat.calls.at(-1)).toEqual({
      action: "get_image",
      params: { file: "A8A63B4D63A08AED720D0F5F249E07D9.png" },
    });
  });
});

describe("links without a key", () => {
  const answers = {
    get_rkey: readCase("api_get_rkey_ok").data,
    nc_get_rkey: readCase("api_get_rkey_ok_snowluma").data,
    get_rkey_server: readCase("api_get_rkey_server_ok").data,
  } as Readonly<Record<string, object>>;

  const kinds = [
    { appid: 1407, key: GROUP_KEY },
    { appid: 1406, key: PRIVATE_KEY },
  ];
  const servers = [
    { action: "get_rkey", shape: "get_rkey" },
    { action: "get_rkey", shape: "nc_get_rkey" },
    { action: "nc_get_rkey", shape: "nc_get_rkey" },
    { action: "get_rkey_server", shape: "get_rkey_server" },
  ];
  it.each(servers.flatMap((server) => kinds.map((kind) => ({ ...server, ...kind }))))(
    "asks $action, which answers like $shape, for the key of $appid",
    async ({ action, shape, appid, key }) => {
      const { fetcher, napcat, server } = await setUp(wantsKey(key));
      napcat.answer(action, answers[shape] ?? {});
      napcat.answer("get_msg", noKey);
      const event = withPicture(noKey, { file: "A.jpg", url: urlOf(appid) });
      expect(await fetcher.fetch(first(event))).toHaveLength(PIXEL_PNG.length);
      expect(server.requests.at(-1)).toContain(`appid=${appid}&fileid=`);
      expect(server.requests.at(-1)).toContain(`&rkey=${key}`);
    },
  );

  it("does so for the case itself, after the link was refused and before NapCat's own copy", async () => {
    const { fetcher, napcat, server, actions } = await setUp(wantsKey(GROUP_KEY));
    napcat.answer("get_rkey", answers.get_rkey ?? {});
    napcat.answer("get_msg", noKey);
    await fetcher.fetch(first(noKey));
    expect(actions()).toEqual(["get_msg", "get_rkey"]);
    expect(server.requests).toHaveLength(2);
  });

  it.each([
    ["an old key", { http_status: 400, body: { retcode: -5503007 } }],
    ["a wrong key", { http_status: 400, body: { retcode: -5503010 } }],
    ["a code nobody has seen", { http_status: 400, body: { retcode: -5503012, x: 1 } }],
    ["a plain refusal", { http_status: 403, body: {} }],
    ["a refusal that calls itself a success", { http_status: 200, body: { retcode: -1 } }],
  ])("replaces the key after %s", async (_name, refusal) => {
    const { fetcher, napcat, server } = await setUp(wantsKey(GROUP_KEY, refusal));
    napcat.answer("get_rkey_server", answers.get_rkey_server ?? {});
    const url = `${urlOf(1407)}&rkey=CAQSKold`;
    await fetcher.fetch(first(withPicture(noKey, { file: "A.jpg", url })));
    expect(server.requests.at(-1)).not.toContain("CAQSKold");
  });

  it("goes on to the next action when a key is refused or of the other kind only", async () => {
    const { fetcher, napcat, actions } = await setUp(wantsKey(GROUP_KEY));
    napcat.answer("get_rkey", [{ type: "private", rkey: PRIVATE_KEY }]);
    napcat.answer("nc_get_rkey", { rkeys: [{ type: "20", rkey: "rkey=wrong" }] });
    napcat.answer("get_rkey_server", answers.get_rkey_server ?? {});
    await fetcher.fetch(first(noKey));
    expect(actions()).toEqual(["get_msg", "get_rkey", "nc_get_rkey", "get_rkey_server"]);
  });

  it("tries both keys for a kind of picture it does not know", async () => {
    const { fetcher, napcat } = await setUp(wantsKey(GROUP_KEY));
    napcat.answer("get_rkey", answers.get_rkey ?? {});
    await fetcher.fetch(first(withPicture(noKey, { file: "A.jpg", url: urlOf(1499) })));
  });

  it("names the first reason, and ends, when no key opens it", async () => {
    const { fetcher, napcat, server } = await setUp(wantsKey("nobody's"));
    for (const [action, answer] of Object.entries(answers)) napcat.answer(action, answer);
    const failing = fetcher.fetch(first(noKey));
    await expect(failing).rejects.toMatchObject({ code: "expired", status: 400 });
    expect(server.requests, "as it was, and with the one key all servers gave").toHaveLength(2);
  });

  const odd = [null, [], {}, "key", [null, 7, { type: 10 }], { private_rkey: 5, group_rkey: null }];
  it.each(odd.map((answer) => ({ answer })))(
    "takes no harm from $answer as an answer",
    async ({ answer }) => {
      const { fetcher, napcat } = await setUp(wantsKey(GROUP_KEY));
      napcat.answer("get_rkey", () => answer);
      await expect(fetcher.fetch(first(noKey))).rejects.toMatchObject({ code: "expired" });
    },
  );

  it("gives keys to QQ's own hosts only, and asks for none where no key is taken", async () => {
    const { fetcher, napcat, actions } = await setUp((_q, response) =>
      response.writeHead(404).end(),
    );
    for (const [action, answer] of Object.entries(answers)) napcat.answer(action, answer);
    for (const url of [
      "https://example.com/download?appid=1407&fileid=x",
      "https://gchat.qpic.cn/gchatpic_new/0/0-0-ABC/0",
    ]) {
      await expect(
        fetcher.fetch(first(withPicture(noKey, { file: "a b", url }))),
      ).rejects.toThrow();
    }
    expect(new Set(actions())).toEqual(new Set(["get_msg"]));
  });
});

describe("one picture twice", () => {
  const double = readCase("group_image_double_broken");
  const pictures = (double.message as { type: string; data: { url: string; file: string } }[])
    .filter(({ type }) => type === "image")
    .map(({ data }) => data);
  const [good, broken] = pictures as [(typeof pictures)[0], (typeof pictures)[0]];

  it("keeps the one whose link leads somewhere, whichever comes first", () => {
    for (const event of [
      double,
      withPicture(double, good, broken),
      withPicture(double, broken, good),
    ]) {
      expect(imagesOf(event).map(({ url }) => url)).toEqual([good.url]);
    }
  });

  it.each([
    "",
    null,
    "https://multimedia.nt.qq.com.cn",
    "https://multimedia.nt.qq.com.cn/?rkey=x",
    "https://multimedia.nt.qq.com.cn/download?appid=1407&rkey=x",
    "/root/x.png",
    good.url,
  ])("counts %j as a double", (url) => {
    const file = good.file.toUpperCase();
    expect(imagesOf(withPicture(double, { ...good }, { file, url }))).toHaveLength(1);
  });

  it("keeps two files, two links that lead somewhere, and what has no better double", () => {
    const other = { file: "0f.png", url: broken.url };
    expect(imagesOf(withPicture(double, good, other))).toHaveLength(2);
    const elsewhere = { file: good.file, url: `${good.url}&other=1` };
    expect(imagesOf(withPicture(double, good, elsewhere))).toHaveLength(2);
    expect(imagesOf(withPicture(double, broken, { ...broken, url: "" }))).toHaveLength(2);
    expect(imagesOf(withPicture(double, { url: "" }, { url: "" }))).toHaveLength(2);
  });

  it("still finds a picture by its place when doubles came before it", async () => {
    const { fetcher, napcat } = await setUp(PIXEL_PNG);
    const third = { file: "renamed", url: "" };
    napcat.answer(
      "get_msg",
      withPicture(double, good, broken, { file: "third.png", url: "https://gchat.qpic.cn/third" }),
    );
    const wanted = imagesOf(withPicture(double, good, broken, third))[1] as ImageReference;
    await expect(fetcher.fetch(wanted)).resolves.toHaveLength(PIXEL_PNG.length);
  });
});
