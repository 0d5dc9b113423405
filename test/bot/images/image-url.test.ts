import type { LookupAddress, LookupOptions } from "node:dns";
import { describe, expect, it } from "vitest";
import {
  checkImageUrl,
  guardedLookup,
  type ImageUrlPolicy,
  isKnownDead,
  isPublicAddress,
} from "../../../src/bot/images/image-url.ts";
import { readEvent } from "../../support/events.ts";

const strict: ImageUrlPolicy = { extraHosts: [], allowPrivateAddresses: false };

describe("checkImageUrl", () => {
  it.each([
    "https://multimedia.nt.qq.com.cn/download?appid=1407&fileid=x&rkey=y",
    "http://gchat.qpic.cn/gchatpic_new/0/0-0-ABC/0",
    "https://GXH.vip.qq.com/club/item/parcel/item/3f/x/raw300.gif",
  ])("allows %s", (url) => {
    expect(checkImageUrl(url, strict).protocol).toMatch(/^https?:$/u);
  });

  it.each([
    "",
    "C.jpg",
    "file:///etc/passwd",
    "ftp://gchat.qpic.cn/x",
    "http://127.0.0.1/",
    "http://169.254.169.254/latest/meta-data/",
    "http://[::1]/",
    "http://2130706433/",
    "http://example.com/cat.jpg",
    "http://gchat.qpic.cn.example.com/x",
    "http://evil.com#gchat.qpic.cn",
    "http://user:password@gchat.qpic.cn/x",
    "http://gchat.qpic.cn:8080/x",
    "http://gchat.qpic.cn./x",
  ])("refuses %j", (url) => {
    expect(() => checkImageUrl(url, strict)).toThrowError(
      expect.objectContaining({ name: "ImageFetchError", code: "url-refused" }),
    );
  });

  it("allows hosts that were named, with exactly their port", () => {
    const policy = {
      extraHosts: ["img.example.com", "cdn.example.com:8443"],
      allowPrivateAddresses: false,
    };
    expect(checkImageUrl("https://img.example.com/a", policy).host).toBe("img.example.com");
    expect(checkImageUrl("https://cdn.example.com:8443/a", policy).port).toBe("8443");
    expect(() => checkImageUrl("https://img.example.com:444/a", policy)).toThrow();
    expect(() => checkImageUrl("https://cdn.example.com/a", policy)).toThrow();
  });

  it("refuses a named address on a private network unless that was allowed too", () => {
    const extraHosts = ["127.0.0.1:8080", "[::1]:8080"];
    for (const host of extraHosts) {
      expect(() =>
        checkImageUrl(`http://${host}/`, { extraHosts, allowPrivateAddresses: false }),
      ).toThrow();
      checkImageUrl(`http://${host}/`, { extraHosts, allowPrivateAddresses: true });
    }
  });

  it("says nothing of a link but its host", () => {
    const secret = "CANARY-rkey";
    expect(() => checkImageUrl(`https://example.com/${secret}?rkey=${secret}`, strict)).toThrow(
      expect.not.objectContaining({ message: expect.stringContaining(secret) }),
    );
  });
});

describe("isPublicAddress", () => {
  it.each(["8.8.8.8", "203.205.254.1", "2402:4e00::1"])("takes %s", (address) => {
    expect(isPublicAddress(address)).toBe(true);
  });

  it.each([
    "0.0.0.0",
    "10.1.2.3",
    "100.64.0.1",
    "127.0.0.1",
    "169.254.169.254",
    "172.16.0.1",
    "192.168.1.1",
    "198.18.0.1",
    "224.0.0.1",
    "255.255.255.255",
    "::",
    "::1",
    "::ffff:127.0.0.1",
    "64:ff9b::7f00:1",
    "2002:7f00:1::",
    "fc00::1",
    "fe80::1",
    "not an address",
  ])("refuses %s", (address) => {
    expect(isPublicAddress(address)).toBe(false);
  });
});

describe("guardedLookup", () => {
  function resolve(
    addresses: string[],
    options: LookupOptions,
    policy = strict,
    host = "gchat.qpic.cn",
  ) {
    const found: LookupAddress[] = addresses.map((address) => ({
      address,
      family: address.includes(":") ? 6 : 4,
    }));
    const lookup = guardedLookup(policy, (_host, _options, callback) => callback(null, found));
    return new Promise<unknown>((resolve, reject) => {
      lookup(host, options, (error, address) => (error ? reject(error) : resolve(address)));
    });
  }

  it("passes public addresses on, one or all as asked", async () => {
    await expect(resolve(["8.8.8.8", "8.8.4.4"], {})).resolves.toBe("8.8.8.8");
    await expect(resolve(["8.8.8.8"], { all: true })).resolves.toEqual([
      { address: "8.8.8.8", family: 4 },
    ]);
  });

  it("refuses a name as soon as one of its addresses is private", async () => {
    const refused = { code: "url-refused" };
    await expect(resolve(["8.8.8.8", "127.0.0.1"], { all: true })).rejects.toMatchObject(refused);
    await expect(resolve(["fe80::1"], {})).rejects.toMatchObject(refused);
    await expect(resolve([], {})).rejects.toMatchObject(refused);
  });

  it("lets named hosts lead to a private network if that was allowed, but never QQ's", async () => {
    const policy = { extraHosts: ["minio.lan"], allowPrivateAddresses: true };
    await expect(resolve(["10.0.0.1"], {}, policy, "minio.lan")).resolves.toBe("10.0.0.1");
    await expect(resolve(["10.0.0.1"], {}, policy)).rejects.toMatchObject({ code: "url-refused" });
  });

  it("passes on that a name does not exist", async () => {
    const lookup = guardedLookup(strict, (_host, _options, callback) =>
      callback(Object.assign(new Error("no"), { code: "ENOTFOUND" }), ""),
    );
    const error = await new Promise((resolve) => lookup("x", {}, resolve));
    expect(error).toMatchObject({ code: "ENOTFOUND" });
  });
});

describe("isKnownDead", () => {
  it("knows the link NapCat builds without a fresh key, and no other", () => {
    const urlOf = (name: string) => JSON.stringify(readEvent(name)).match(/"url":"([^"]+)"/u)?.[1];
    expect(isKnownDead(urlOf("group_image_fallback_rkey") ?? "")).toBe(true);
    expect(isKnownDead(urlOf("group_image_only") ?? "")).toBe(false);
    expect(isKnownDead(urlOf("group_image_md5_url") ?? "")).toBe(false);
    expect(isKnownDead("")).toBe(false);
  });
});
