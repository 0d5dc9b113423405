// DNS, connecting, hosts: a local proxy that invents addresses, hosts of QQ's own domains, and time for each address.

import { afterEach, describe, expect, it } from "vitest";
import { Downloader } from "../../src/bot/images/download.ts";
import { checkImageUrl, type ImageUrlPolicy } from "../../src/bot/images/image-url.ts";
import { isInventedByProxy, isQqHost } from "../../src/bot/images/qq-hosts.ts";
import { PIXEL_PNG } from "../support/events.ts";
import { type PictureHandler, startPictureServer } from "../support/picture-server.ts";
import { playQqNetwork } from "../support/qq-network.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

const strict: ImageUrlPolicy = { extraHosts: [], allowPrivateAddresses: false };
const refused = { name: "ImageFetchError", code: "url-refused" };

async function setUp(
  addresses: readonly string[],
  policy = strict,
  handler: PictureHandler | Uint8Array = PIXEL_PNG,
) {
  const server = await startPictureServer({}, handler);
  const network = playQqNetwork(server.host, addresses);
  const downloader = new Downloader(policy, network.lookup);
  cleanups.push(
    () => server.close(),
    () => network.restore(),
    () => downloader.close(),
  );
  const { signal } = new AbortController();
  const download = (url: string) => downloader.download(url, { maxBytes: 1000, signal });
  return { server, network, download };
}

describe("a proxy that invents addresses", () => {
  const hosts = [
    "multimedia.nt.qq.com.cn",
    "gchat.qpic.cn",
    "gxh.vip.qq.com",
    "c2cpicdw.qpic.cn",
    "multimedia.nt.qq.com",
    "q1.qlogo.cn",
    "i.gtimg.cn",
    "qqbot.ugcimg.cn",
    "GCHAT.QPIC.CN",
  ];
  it.each(hosts)("is believed about %s", async (host) => {
    const { download } = await setUp(["198.18.1.7"]);
    await expect(download(`https://${host}/x`)).resolves.toHaveLength(PIXEL_PNG.length);
  });

  it.each([
    "198.18.0.0",
    "198.19.255.255",
    "::ffff:198.18.0.9",
    "fc00::12",
    "fc00:3fff::1",
    "fdfe:dcba:9876::7",
  ])("may answer %s, alone or beside a public address", async (address) => {
    const { download } = await setUp([address, "203.205.254.1"]);
    await expect(download("https://gchat.qpic.cn/x")).resolves.toHaveLength(PIXEL_PNG.length);
  });

  it.each([
    "10.0.0.1",
    "127.0.0.1",
    "172.16.0.1",
    "192.168.1.1",
    "169.254.169.254",
    "100.64.0.1",
    "0.0.0.0",
    "::1",
    "::ffff:10.0.0.1",
    "fe80::1",
    "fc00:4000::1",
    "fd00::1",
    "fdfe:dcba:9877::1",
  ])("is refused with %s, also beside a good address", async (address) => {
    expect(isInventedByProxy(address)).toBe(false);
    for (const addresses of [[address], ["198.18.1.7", address], [address, "203.205.254.1"]]) {
      const { download, server, network } = await setUp(addresses);
      await expect(download("https://gchat.qpic.cn/x")).rejects.toMatchObject(refused);
      expect(server.requests).toEqual([]);
      network.restore();
    }
  });

  it("has no more than its ranges", () => {
    for (const address of ["198.17.255.255", "198.20.0.0", "fc00:4000::", "fdfe:dcba:9875:ffff::"])
      expect(isInventedByProxy(address)).toBe(false);
    expect(isInventedByProxy("gchat.qpic.cn")).toBe(false);
  });

  it("gives no way to an address itself, nor to a redirect to one", async () => {
    for (const address of ["198.18.1.7", "[fc00::1]", "[fdfe:dcba:9876::7]", "[::ffff:c612:107]"]) {
      const extraHosts = [address];
      expect(() => checkImageUrl(`http://${address}/x`, strict)).toThrow(
        expect.objectContaining(refused),
      );
      expect(() => checkImageUrl(`http://${address}/x`, { ...strict, extraHosts })).toThrow(
        expect.objectContaining(refused),
      );
      const { download, network } = await setUp(["198.18.1.7"], strict, (_request, response) =>
        response.writeHead(302, { location: `http://${address}/x` }).end(),
      );
      await expect(download("https://gchat.qpic.cn/x")).rejects.toMatchObject(refused);
      network.restore();
    }
  });

  it("is believed about no other host, not even one that was named", async () => {
    const policy = { extraHosts: ["img.example.com"], allowPrivateAddresses: false };
    const { download } = await setUp(["198.18.1.7"], policy);
    await expect(download("https://img.example.com/x")).rejects.toMatchObject(refused);
  });

  it("changes nothing for hosts that may be private: QQ's own never may", async () => {
    const policy = { extraHosts: ["img.example.com"], allowPrivateAddresses: true };
    const { download } = await setUp(["10.0.0.1"], policy);
    await expect(download("https://img.example.com/x")).resolves.toHaveLength(PIXEL_PNG.length);
    await expect(download("https://gchat.qpic.cn/x")).rejects.toMatchObject(refused);
  });
});

describe("QQ's own hosts", () => {
  it.each([
    "gchat.qpic.cn.example.com",
    "multimedia.nt.qq.com.cn.evil.org",
    "myqpic.cn",
    "evilqq.com",
    "qq.com.example.cn",
    "qq.com.evil",
    "qpic.cn.",
    "gchat.qpic.cn.",
    "gchat-qpic.cn",
    "gchat.qpic.cn@example.com",
    "gchat.qpic.cn:444",
    "gchat.qpic.cn&rkey=x",
    "bucket.cos.ap-guangzhou.myqcloud.com",
    "bucket.cos.tencentcos.com",
    "qpic.cn",
    "xn--gchat.qpic.com",
    "qpic。cn.example.com",
  ])("are not %s", (host) => {
    expect(() => checkImageUrl(`https://${host}/x`, strict)).toThrow(
      expect.objectContaining(refused),
    );
  });

  it("are those in QQ's domains, however they are written", () => {
    expect(isQqHost("p.qpic.cn")).toBe(true);
    expect(checkImageUrl("https://C2CPICDW.qpic.cn:443/x", strict).host).toBe("c2cpicdw.qpic.cn");
  });
});

describe("a host with several addresses", () => {
  it("gives each some seconds, in TLS and without", async () => {
    const { download, network } = await setUp(["203.205.254.1", "203.205.254.2"]);
    await download("https://gchat.qpic.cn/x");
    await download("http://gchat.qpic.cn/x");
    expect(network.connections.map(({ secure }) => secure)).toEqual([true, false]);
    for (const options of network.connections) {
      expect(options).toMatchObject({ autoSelectFamily: true });
      expect(options.autoSelectFamilyAttemptTimeout).toBeGreaterThanOrEqual(2000);
      expect(options.autoSelectFamilyAttemptTimeout).toBeLessThanOrEqual(5000);
    }
  });
});

describe("an error", () => {
  it("of an expired key says so for every code of that family", async () => {
    for (const retcode of [-5503007, -5503010, -5503012]) {
      const { download, network } = await setUp(["203.205.254.1"], strict, (_request, response) =>
        response.writeHead(400).end(JSON.stringify({ retcode, retmsg: "x" }, null, 1)),
      );
      await expect(download("https://gchat.qpic.cn/x")).rejects.toMatchObject({ code: "expired" });
      network.restore();
    }
  });
});
