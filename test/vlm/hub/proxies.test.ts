// Proxies on the way to a hub: SOCKS ones, and those that are not there or do not lead on. None of them is told with the
// name and password in its address.

import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, createServer as createNetServer } from "node:net";
import { inspect } from "node:util";
import { describe, expect, it } from "vitest";
import { type HttpAnswer, HttpClient } from "../../../src/vlm/hub/http-client.ts";
import { ProxyError } from "../../../src/vlm/hub/proxy-error.ts";
import { steadily } from "../../../src/vlm/hub/steady-body.ts";
import { NOBODY } from "../../support/nobody.ts";
import { startSocksServer } from "../../support/socks-server.ts";

describe("a SOCKS proxy", () => {
  const textOf = async ({ body }: HttpAnswer) => {
    const chunks: Buffer[] = [];
    for await (const chunk of steadily(body, 5_000)) chunks.push(chunk);
    return Buffer.concat(chunks).toString();
  };

  it.each([undefined, "me:wörd"])("is gone through, and looks names up (%s)", async (person) => {
    const hub = createServer((_request, response) => response.end("here"));
    hub.listen(0, "127.0.0.1");
    await once(hub, "listening");
    const { port } = hub.address() as AddressInfo;
    const proxy = await startSocksServer(person);
    const login = person === undefined ? "" : `${person.replace("ö", "%C3%B6")}@`;
    const client = new HttpClient({
      env: { ALL_PROXY: `socks5://${login}127.0.0.1:${proxy.port}` },
    });
    for (let i = 0; i < 2; i++) {
      expect(await textOf(await client.get(new URL(`http://hub.test:${port}/`)))).toBe("here");
    }
    expect(new Set(proxy.asked)).toEqual(new Set([`hub.test:${port}`]));
    await client.close();
    await proxy.close();
    hub.closeAllConnections();
    hub.close();
  });

  it("sees nothing of what goes to https but a name", async () => {
    const first: number[] = [];
    const hub = createNetServer((socket) => {
      socket.once("data", (bytes) => {
        first.push(bytes[0]!);
        expect(bytes.includes("hub.test")).toBe(true);
        socket.destroy();
      });
    });
    hub.listen(0, "127.0.0.1");
    await once(hub, "listening");
    const { port } = hub.address() as AddressInfo;
    const proxy = await startSocksServer();
    const client = new HttpClient({ env: { HTTPS_PROXY: `socks5h://127.0.0.1:${proxy.port}` } });
    await expect(client.get(new URL(`https://hub.test:${port}/`))).rejects.toThrow();
    // The beginning of TLS.
    expect(first).toEqual([0x16]);
    await client.close();
    await proxy.close();
    hub.close();
  });

  it("that knows somebody else, or leads nowhere, is named without what it was told", async () => {
    const proxy = await startSocksServer("me:SECRET");
    const ask = async (login: string, host = `127.0.0.1:${proxy.port}`) => {
      const address = `socks5://${login}${host}`;
      const client = new HttpClient({ env: { ALL_PROXY: address } });
      const error: unknown = await client.get(new URL("http://hub.test:1/")).catch((e) => e);
      await client.close();
      expect(error).toBeInstanceOf(ProxyError);
      expect(inspect(error, { showHidden: true, depth: 9 })).not.toMatch(/SECRET|CANARY/u);
      return (error as Error).message;
    };
    const named = `The proxy 127.0.0.1:${proxy.port}`;
    expect(await ask("me:CANARY@")).toBe(`${named} wants a name and a password, or others`);
    expect(await ask("")).toContain(named);
    expect(await ask("me:SECRET@")).toBe(
      `${named} makes no connection to hub.test:1 (ConnectionRefused)`,
    );
    await proxy.close();
    expect(await ask("me:CANARY@", NOBODY)).toBe(
      `The proxy ${NOBODY} cannot be reached (ECONNREFUSED)`,
    );
  });
});

describe("a proxy that is none", () => {
  const failure = async (proxy: string, url = "http://hub.test:1/") => {
    const client = new HttpClient({ env: { ALL_PROXY: proxy } });
    const error: unknown = await client.get(new URL(url)).catch((e) => e);
    await client.close();
    return error;
  };

  it.each([407, 502])(
    "is named by host and port, and so is what it answers: %i",
    async (status) => {
      const proxy = createServer().on("connect", (_request, socket) => {
        socket.end(`HTTP/1.1 ${status} No\r\n\r\n`);
      });
      proxy.listen(0, "127.0.0.1");
      await once(proxy, "listening");
      const host = `127.0.0.1:${(proxy.address() as AddressInfo).port}`;
      const error = await failure(`http://me:CANARY@${host}`);
      expect(error).toBeInstanceOf(ProxyError);
      expect(error).toMatchObject({
        message:
          status === 407
            ? `The proxy ${host} wants a name and a password, or others`
            : `The proxy ${host} makes no connection to hub.test:1 (HTTP ${status})`,
      });
      expect(inspect(error, { showHidden: true, depth: 9 })).not.toContain("CANARY");
      proxy.closeAllConnections();
      proxy.close();
      await once(proxy, "close");
      expect(await failure(`http://me:CANARY@${NOBODY}`)).toMatchObject({
        name: "ProxyError",
        message: `The proxy ${NOBODY} cannot be reached (ECONNREFUSED)`,
      });
    },
  );
});
