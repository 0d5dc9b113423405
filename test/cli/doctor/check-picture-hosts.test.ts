import type { LookupFunction } from "node:net";
import net from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { checkPictureHosts } from "../../../src/cli/doctor/check-picture-hosts.ts";
import type { CheckContext, Finding } from "../../../src/cli/doctor/finding.ts";
import { type PictureHost, probePictureHost } from "../../../src/cli/picture-hosts.ts";
import { resolveSettings } from "../../../src/cli/settings.ts";
import { PIXEL_PNG } from "../../support/events.ts";
import { NOBODY } from "../../support/nobody.ts";
import { expired, startPictureServer } from "../../support/picture-server.ts";
import { playQqNetwork } from "../../support/qq-network.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
  vi.unstubAllEnvs();
});

const { signal } = new AbortController();

function answering(...addresses: string[]): LookupFunction {
  return (_host, _options, callback) =>
    callback(
      null,
      addresses.map((address) => ({ address, family: net.isIP(address) })),
    );
}

function failing(code: string): LookupFunction {
  return (_host, _options, callback) => callback(Object.assign(new Error(code), { code }), "");
}

describe("probePictureHost", () => {
  const host = "gchat.qpic.cn";

  async function reachable() {
    const server = await startPictureServer({});
    const network = playQqNetwork(server.host);
    cleanups.push(
      () => server.close(),
      () => network.restore(),
    );
  }

  it("reaches a host, directly or through a proxy that invents addresses", async () => {
    await reachable();
    expect(await probePictureHost(host, { signal, lookup: answering("203.205.254.1") })).toEqual({
      host,
      state: "reached",
      throughProxy: false,
      detail: "203.205.254.1",
    });
    for (const address of ["198.18.0.7", "fc00::7", "fdfe:dcba:9876::7"]) {
      expect(await probePictureHost(host, { signal, lookup: answering(address) })).toEqual({
        host,
        state: "reached",
        throughProxy: true,
        detail: address,
      });
    }
  });

  it("says that a name leads to a private network, and does not connect there", async () => {
    for (const address of ["10.0.0.1", "127.0.0.1", "fd00::1"]) {
      const lookup = answering("203.205.254.1", address);
      expect(await probePictureHost(host, { signal, lookup })).toMatchObject({
        state: "private-address",
        detail: address,
      });
    }
  });

  it("says that there is no DNS, or that it is silent", async () => {
    for (const [lookup, detail] of [
      [failing("ENOTFOUND"), "ENOTFOUND"],
      [failing("EAI_AGAIN"), "EAI_AGAIN"],
      [answering(), "ENODATA"],
      [() => {}, "ETIMEOUT"],
    ] as const) {
      expect(await probePictureHost(host, { signal, lookup, timeoutMs: 20 })).toMatchObject({
        state: "no-dns",
        detail,
      });
    }
  });

  it("says that nothing answers", async () => {
    const network = playQqNetwork(NOBODY);
    cleanups.push(() => network.restore());
    const refused = { signal, lookup: answering("203.205.254.1") };
    expect(await probePictureHost(host, refused)).toMatchObject({
      state: "unreachable",
      detail: "ECONNREFUSED",
    });
  });

  it("ends with the reason of an abort", async () => {
    const controller = new AbortController();
    const probing = probePictureHost(host, { signal: controller.signal, lookup: () => {} });
    controller.abort(new Error("stop"));
    await expect(probing).rejects.toThrow("stop");
  });
});

describe("checkPictureHosts", () => {
  const napcat = { NAPCAT_URL: "ws://127.0.0.1:3001" };

  async function check(
    state: Partial<PictureHost>,
    context: Partial<CheckContext> = {},
    env: Record<string, string> = napcat,
  ): Promise<readonly Finding[]> {
    const settings = resolveSettings({}, env);
    const pictureHosts: typeof probePictureHost = async (host) => ({
      host,
      state: "reached",
      throughProxy: false,
      detail: "203.205.254.1",
      ...state,
    });
    return checkPictureHosts({ settings, signal, pictureHosts, ...context });
  }

  const english = (text: unknown) => JSON.stringify((text as { en?: string }).en ?? text);

  it("is content when every host is reached, and names the proxy that stands between", async () => {
    const [direct] = await check({});
    expect(direct).toMatchObject({ verdict: "ok", what: { en: "Picture hosts" } });
    expect(english(direct?.found)).toContain("multimedia.nt.qq.com.cn reached");
    const [proxied] = await check({ throughProxy: true, detail: "198.18.0.7" });
    expect(proxied).toMatchObject({ verdict: "ok" });
    expect(english(proxied?.found)).toContain("through a local proxy, 198.18.0.7");
  });

  it.each<[Partial<PictureHost>, RegExp]>([
    [{ state: "no-dns", detail: "ENOTFOUND" }, /DNS does not work/u],
    [{ state: "private-address", detail: "10.0.0.1" }, /Use another DNS/u],
    [{ state: "unreachable", detail: "ETIMEDOUT" }, /firewall/u],
    [{ state: "unreachable", throughProxy: true, detail: "198.18.0.7" }, /TUN/u],
  ])("says what stands between for %j", async (state, advice) => {
    const [finding] = await check(state);
    expect(finding).toMatchObject({ verdict: "fail" });
    expect(english(finding?.advice)).toMatch(advice);
    expect(english(finding?.found)).toContain(state.detail);
    expect(finding?.advice).toMatchObject({ zh: expect.stringMatching(/[一-龥]/u) });
  });

  it("only warns where no NapCat is configured, and tells that a proxy of the environment is not used", async () => {
    vi.stubEnv("HTTPS_PROXY", "http://user:CANARY@127.0.0.1:7890");
    const [finding] = await check({ state: "no-dns", detail: "ENOTFOUND" }, {}, {});
    expect(finding).toMatchObject({ verdict: "warn" });
    expect(english(finding?.advice)).toContain("fetched without it");
    expect(JSON.stringify(finding)).not.toContain("CANARY");
  });

  it("fetches one picture when told to, by the rules of the bot", async () => {
    const server = await startPictureServer({ "/a?rkey=CANARY": PIXEL_PNG, "/b": expired });
    cleanups.push(() => server.close());
    const env = { ...napcat, IMAGE_HOSTS: server.host };
    const [, good] = await check({}, { picture: server.url("/a?rkey=CANARY") }, env);
    expect(good).toMatchObject({ verdict: "ok", found: expect.stringMatching(/^image\/png, /u) });

    const [, old] = await check({}, { picture: server.url("/b") }, env);
    expect(old).toMatchObject({ verdict: "fail", found: "127.0.0.1 expired 400" });
    expect(english(old?.advice)).toContain("fresh link");

    for (const picture of ["http://10.0.0.1/CANARY", "file:///etc/CANARY", "CANARY"]) {
      const [, refused] = await check({}, { picture }, env);
      expect(refused).toMatchObject({ verdict: "fail" });
      expect(JSON.stringify(refused)).toContain("url-refused");
      expect(JSON.stringify(refused)).not.toContain("CANARY");
    }
  });
});
