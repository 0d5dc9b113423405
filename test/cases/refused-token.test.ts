// Tokens on servers that are not NapCat: closing codes and HTTP statuses, in the bot's connection and in doctor's.

import { createServer, type Server } from "node:http";
import type { AddressInfo } from "node:net";
import { afterEach, describe, expect, it } from "vitest";
import { WebSocketServer } from "ws";
import { connectNapCat, type NapCatConnection } from "../../src/bot/napcat/connection.ts";
import { BOT_ID } from "../../src/bot/testing.ts";
import { askNapCat } from "../../src/cli/napcat-check.ts";
import { RecordingLogger } from "../support/recording-logger.ts";

const cleanups: (() => unknown)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

async function listen(server: Server | WebSocketServer): Promise<string> {
  await new Promise((resolve) => server.once("listening", resolve));
  cleanups.push(() => {
    if (server instanceof WebSocketServer) for (const client of server.clients) client.terminate();
    else server.closeAllConnections();
    return new Promise((resolve) => server.close(resolve));
  });
  return `ws://127.0.0.1:${(server.address() as AddressInfo).port}`;
}

/** Lets the socket open and closes it: at once, or at the first question. */
function closesWith(code: number, when: "at once" | "when asked", reason = "unauthorized") {
  const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
  server.on("connection", (socket) => {
    if (when === "at once") socket.close(code, reason);
    else socket.once("message", () => socket.close(code, reason));
  });
  return listen(server);
}

/** Answers the request for a WebSocket with a status. */
function answersUpgradeWith(status: string, body = "") {
  const server = createServer();
  server.on("upgrade", (_request, socket) => {
    socket.end(`HTTP/1.1 ${status}\r\ncontent-length: ${body.length}\r\n\r\n${body}`);
  });
  server.listen(0, "127.0.0.1");
  return listen(server);
}

function connect(url: string) {
  const logger = new RecordingLogger();
  const quick = { minDelayMs: 5, maxDelayMs: 20, authRetryMs: 40, connectTimeoutMs: 60_000 };
  const napcat = connectNapCat({ url, token: "CANARY", logger, ...quick });
  cleanups.push(() => napcat.close());
  return { napcat, logger };
}

const untilState = (napcat: NapCatConnection, wanted: string) =>
  new Promise<void>((resolve) => {
    if (napcat.state === wanted) return resolve();
    napcat.onState((state) => state === wanted && resolve());
  });

const ask = (url: string) =>
  askNapCat(url, "CANARY", { timeoutMs: 60_000, signal: new AbortController().signal });

const refusals: [name: string, start: () => Promise<string>][] = [
  ["1008 at once", () => closesWith(1008, "at once")],
  ["1008 at once, without a reason", () => closesWith(1008, "at once", "")],
  ["1008 when asked", () => closesWith(1008, "when asked")],
  ["4001 at once", () => closesWith(4001, "at once")],
  ["4001 when asked", () => closesWith(4001, "when asked")],
  ["HTTP 401", () => answersUpgradeWith("401 Unauthorized")],
  ["HTTP 401 with a body", () => answersUpgradeWith("401 Unauthorized", '{"retcode":1403}')],
  ["HTTP 403", () => answersUpgradeWith("403 Forbidden")],
];

const others: [name: string, start: () => Promise<string>, problem: string][] = [
  ["1001", () => closesWith(1001, "at once"), "no-answer"],
  ["1011", () => closesWith(1011, "when asked"), "no-answer"],
  ["1012", () => closesWith(1012, "at once"), "no-answer"],
  ["4002", () => closesWith(4002, "at once"), "no-answer"],
  ["HTTP 502", () => answersUpgradeWith("502 Bad Gateway"), "unreachable"],
  ["HTTP 404", () => answersUpgradeWith("404 Not Found"), "unreachable"],
  ["HTTP 400", () => answersUpgradeWith("400 Bad Request", "40101 403 401"), "unreachable"],
];

describe("a refused token", () => {
  it.each(refusals)("is what %s means to the bot", async (_name, start) => {
    const { napcat, logger } = connect(await start());
    await expect(napcat.ready()).rejects.toMatchObject({ code: "napcat-auth-failed" });
    await untilState(napcat, "auth-failed");
    expect(logger.at("error")).toHaveLength(1);
    expect(logger.at("warn")).toEqual([]);
    expect(JSON.stringify(logger.lines)).not.toContain("CANARY");
  });

  it.each(refusals)("is what %s means to doctor", async (_name, start) => {
    await expect(ask(await start())).rejects.toMatchObject({ problem: "wrong-token" });
  });

  it.each(others)("is not what %s means", async (_name, start, problem) => {
    const url = await start();
    const { napcat, logger } = connect(url);
    await untilState(napcat, "waiting");
    expect(logger.at("error")).toEqual([]);
    await expect(ask(url)).rejects.toMatchObject({ problem });
  });

  it("is not what a server means that accepted it before", async () => {
    const server = new WebSocketServer({ host: "127.0.0.1", port: 0 });
    let connections = 0;
    server.on("connection", (socket) => {
      connections++;
      socket.on("message", (data) => {
        const { echo } = JSON.parse(String(data));
        socket.send(
          JSON.stringify({
            status: "ok",
            retcode: 0,
            data: { user_id: BOT_ID, nickname: "" },
            echo,
          }),
        );
      });
    });
    const { napcat } = connect(await listen(server));
    await napcat.ready();
    const states: string[] = [];
    napcat.onState((state) => states.push(state));
    for (const client of server.clients) client.close(1008, "too many messages");
    await untilState(napcat, "waiting");
    await napcat.ready();
    expect(states).not.toContain("auth-failed");
    expect(connections).toBe(2);
  });
});
