import { readFileSync } from "node:fs";
import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { askNapCat } from "../../src/cli/napcat-check.ts";
import { NOBODY } from "../support/nobody.ts";

const NEVER = new AbortController().signal;
const servers: (WebSocketServer | Server)[] = [];

afterEach(async () => {
  for (const server of servers.splice(0)) {
    if (server instanceof WebSocketServer) for (const client of server.clients) client.terminate();
    await new Promise((resolve) => server.close(resolve));
  }
});

function frame(name: string, echo: unknown): string {
  const fixture = JSON.parse(
    readFileSync(new URL(`../events/${name}.json`, import.meta.url), "utf8"),
  );
  return JSON.stringify({ ...fixture, echo });
}

/** A NapCat that answers each action with what the function returns. */
async function napcat(answer: (action: string, token: string | null) => string[]) {
  const server = new WebSocketServer({ port: 0, host: "127.0.0.1" });
  servers.push(server);
  server.on("connection", (socket, request) => {
    const token = new URL(request.url ?? "", "ws://napcat").searchParams.get("access_token");
    socket.send('{"post_type":"meta_event","meta_event_type":"lifecycle"}');
    socket.on("message", (data) => {
      const { action } = JSON.parse(String(data));
      for (const text of answer(action, token)) socket.send(text);
    });
  });
  await new Promise((resolve) => server.once("listening", resolve));
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

function ask(url: string, token?: string, timeoutMs = 10_000) {
  return askNapCat(url, token, { timeoutMs, signal: NEVER });
}

const answers = (action: string) =>
  frame(action === "get_login_info" ? "api_get_login_info_ok" : "api_get_version_info_ok", action);

describe("askNapCat", () => {
  it("says who is logged in and what answered", async () => {
    const tokens: unknown[] = [];
    const url = await napcat((action, token) => {
      tokens.push(token);
      return ["not json", answers(action)];
    });
    expect(await ask(url, "密 s3cret+/&%")).toEqual({
      selfId: "3000000001",
      app: "NapCat.Onebot 4.18.0",
      groups: [],
    });
    expect(tokens).toEqual(["密 s3cret+/&%", "密 s3cret+/&%"]);
  });

  it("notices a wrong token, which NapCat tells after it has opened the socket", async () => {
    const url = await napcat(() => [frame("auth_failed_frame", null)]);
    await expect(ask(url)).rejects.toMatchObject({ problem: "wrong-token" });
  });

  it("notices that nobody listens", async () => {
    await expect(ask(`ws://${NOBODY}`)).rejects.toMatchObject({ problem: "unreachable" });
  });

  it("notices a server that speaks no WebSocket", async () => {
    const server = createServer((_request, response) => response.end("hello"));
    servers.push(server);
    server.listen(0, "127.0.0.1");
    await new Promise((resolve) => server.once("listening", resolve));
    const { port } = server.address() as AddressInfo;
    await expect(ask(`ws://127.0.0.1:${port}`)).rejects.toMatchObject({ problem: "unreachable" });
  });

  it("notices silence, a refusal and a stranger", async () => {
    const silent = await napcat(() => []);
    await expect(ask(silent, undefined, 20)).rejects.toMatchObject({ problem: "no-answer" });
    const stranger = await napcat((action) => [
      JSON.stringify({ status: "ok", retcode: 0, data: { hello: 1 }, echo: action }),
    ]);
    await expect(ask(stranger)).rejects.toMatchObject({ problem: "not-napcat" });
  });

  it("ends with the reason of an abort", async () => {
    const controller = new AbortController();
    const url = await napcat(() => {
      controller.abort(new Error("stop"));
      return [];
    });
    const asking = askNapCat(url, undefined, { timeoutMs: 10_000, signal: controller.signal });
    await expect(asking).rejects.toThrow("stop");
  });
});
