// An engine elsewhere, behind the proxy that the environment names.

import { once } from "node:events";
import { createServer } from "node:http";
import { type AddressInfo, connect } from "node:net";
import { afterEach, describe, expect, it, vi } from "vitest";
import { openAiVlm } from "../../../src/vlm/remote/index.ts";
import { closeDoors, openDoor } from "../../support/open-ai-door.ts";
import { startSocksServer } from "../../support/socks-server.ts";

afterEach(async () => {
  vi.unstubAllEnvs();
  await closeDoors();
});

const messages = [{ role: "user" as const, content: "?" }];

async function elsewhere() {
  const { server } = await openDoor({ answer: "从那边来" });
  const { port } = new URL(server.url);
  const host = `engine.test:${port}`;
  return {
    host,
    model: () => openAiVlm({ baseURL: `http://${host}/v1`, model: "eyes", retries: 0 }),
  };
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
    proxy.listen(0, "127.0.0.1");
    await once(proxy, "listening");
    onlyProxy("HTTP_PROXY", `http://127.0.0.1:${(proxy.address() as AddressInfo).port}`);
    const there = model();
    expect((await there.generate({ messages })).text).toBe("从那边来");
    expect(seen[0]).toBe(host);
    await there.dispose();
    proxy.closeAllConnections();
    proxy.close();
  });
});
