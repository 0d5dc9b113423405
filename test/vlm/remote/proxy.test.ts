// An engine elsewhere, behind the proxy that the environment names.

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openAiVlm } from "../../../src/vlm/remote/index.ts";
import { NOBODY } from "../../support/nobody.ts";
import { startSocksServer } from "../../support/socks-server.ts";

const open: Server[] = [];
afterEach(() => {
  vi.unstubAllEnvs();
  for (const server of open.splice(0)) {
    server.closeAllConnections();
    server.close();
  }
});

const messages = [{ role: "user" as const, content: "?" }];
const ANSWER = { choices: [{ message: { content: "从那边来" }, finish_reason: "stop" }] };

async function listening(server: Server): Promise<number> {
  open.push(server);
  server.listen(0, "127.0.0.1");
  await once(server, "listening");
  return (server.address() as AddressInfo).port;
}

/** Its name is known to no one but the proxy. */
async function elsewhere() {
  const server = createServer((request, response) => {
    request.resume();
    response.setHeader("content-type", "application/json");
    response.end(JSON.stringify(ANSWER));
  });
  const host = `engine.test:${await listening(server)}`;
  const model = () => openAiVlm({ baseURL: `http://${host}/v1`, model: "eyes", retries: 0 });
  return { host, model };
}

function onlyProxy(name: string, address: string): void {
  for (const known of ["HTTP_PROXY", "HTTPS_PROXY", "ALL_PROXY", "NO_PROXY"]) {
    const value = known === name ? address : "";
    vi.stubEnv(known, value);
    vi.stubEnv(known.toLowerCase(), value);
  }
}

describe("a proxy before an engine elsewhere", () => {
  it("of SOCKS leads there", async () => {
    const { host, model } = await elsewhere();
    const proxy = await startSocksServer("me:word");
    onlyProxy("ALL_PROXY", `socks5h://me:word@127.0.0.1:${proxy.port}`);
    const there = model();
    expect((await there.generate({ messages })).text).toBe("从那边来");
    expect(new Set(proxy.asked)).toEqual(new Set([host]));
    await there.dispose();
    await proxy.close();
    onlyProxy("ALL_PROXY", `socks5h://me:word@${NOBODY}`);
    const late = model();
    await expect(late.generate({ messages })).rejects.toMatchObject({ code: "remote-unreachable" });
    await late.dispose();
  });

  it("of HTTP leads there", async () => {
    const { host, model } = await elsewhere();
    const seen: (string | undefined)[] = [];
    const proxy = createServer().on("connect", (request, socket) => {
      seen.push(request.url);
      const line = connect(Number(host.split(":")[1]), "127.0.0.1", () => {
        socket.write("HTTP/1.1 200 OK\r\n\r\n");
        line.pipe(socket).pipe(line);
      });
      line.on("error", () => socket.destroy());
      socket.on("error", () => line.destroy());
    });
    onlyProxy("HTTP_PROXY", `http://127.0.0.1:${await listening(proxy)}`);
    const there = model();
    expect((await there.generate({ messages })).text).toBe("从那边来");
    expect(seen[0]).toBe(host);
    await there.dispose();
  });
});
