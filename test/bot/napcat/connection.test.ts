import { createServer } from "node:net";
import { afterEach, describe, expect, it, onTestFinished, vi } from "vitest";
import type { ConnectNapCatOptions } from "../../../src/bot/napcat/connect-options.ts";
import {
  type ConnectionState,
  connectNapCat,
  type NapCatConnection,
} from "../../../src/bot/napcat/connection.ts";
import { readEvent } from "../../support/events.ts";
import { type NapCatServerOptions, startNapCatServer } from "../../support/napcat-server.ts";
import { RecordingLogger } from "../../support/recording-logger.ts";

const cleanups: (() => Promise<void>)[] = [];
afterEach(async () => {
  for (const cleanup of cleanups.splice(0).reverse()) await cleanup();
});

/** Short pauses everywhere: what is tested is the order of things. */
const QUICK = { minDelayMs: 5, maxDelayMs: 20, authRetryMs: 40, connectTimeoutMs: 60_000 };

async function startServer(options: NapCatServerOptions = {}) {
  const server = await startNapCatServer(options);
  cleanups.push(() => server.close());
  return server;
}

function connect(url: string, options: Partial<ConnectNapCatOptions> = {}) {
  const logger = new RecordingLogger();
  const napcat = connectNapCat({ url, logger, ...QUICK, ...options });
  cleanups.push(() => napcat.close());
  const states: ConnectionState[] = [];
  napcat.onState((state) => states.push(state));
  return { napcat, logger, states };
}

function untilState(napcat: NapCatConnection, wanted: ConnectionState): Promise<void> {
  if (napcat.state === wanted) return Promise.resolve();
  return new Promise((resolve) => {
    const stop = napcat.onState((state) => {
      if (state !== wanted) return;
      stop();
      resolve();
    });
  });
}

/** The next of the ports that are this process's own: below those that a system hands out to whoever asks for any. */
let lastPort = 10_240 + ((process.pid * 8) % 22_000);

/** A port where nobody listens, and where somebody can after a while: a port that was handed out may be by then again. */
async function freePort(): Promise<number> {
  for (;;) {
    const port = ++lastPort;
    const server = createServer().listen(port, "127.0.0.1");
    const isFree = await new Promise((resolve) => {
      server.once("listening", () => resolve(true)).once("error", () => resolve(false));
    });
    if (!isFree) continue;
    await new Promise((resolve) => server.close(resolve));
    return port;
  }
}

describe("connectNapCat", () => {
  it("puts nothing of what it cannot read on the console or into the log", async () => {
    const said = [vi.spyOn(console, "warn"), vi.spyOn(console, "dir"), vi.spyOn(console, "debug")];
    onTestFinished(() => void vi.restoreAllMocks());
    const server = await startServer();
    const { napcat, logger } = connect(server.url);
    await napcat.ready();
    for (const frame of ['"CANARY"', "CANARY", '{"message":"CANARY', '{"post_type":"CANARY: 1"}']) {
      server.pushText(frame);
    }
    await server.pinged();
    for (const spy of said) expect(spy).not.toHaveBeenCalled();
    expect(
      logger.lines.filter(({ message }) => message === "NapCat sent what nobody knows."),
    ).toHaveLength(4);
    expect(JSON.stringify(logger.lines)).not.toContain("CANARY");
  });

  it("is ready once NapCat has said who the bot is", async () => {
    const server = await startServer();
    const { napcat, states } = connect(server.url);
    await expect(napcat.ready()).resolves.toEqual({ selfId: "3000000001", nickname: "看图猫" });
    expect(states).toEqual(["authenticating", "ready"]);
    expect(napcat.login?.selfId).toBe("3000000001");
    await expect(napcat.send("get_status", {})).resolves.toMatchObject({ online: true });
  });

  it("hands events on to every listener, even if one throws and one rejects (D11, D12)", async () => {
    const server = await startServer();
    const { napcat, logger } = connect(server.url);
    const heard: string[] = [];
    const removed = () => heard.push("removed");
    napcat.on("message", () => {
      throw new Error("CANARY");
    });
    napcat.on("message", () => Promise.reject(new Error("CANARY")));
    napcat.on("message", removed).off("message", removed);
    const arrived = new Promise<void>((resolve) => {
      napcat.on("message", ({ message_id }) => {
        heard.push(String(message_id));
        resolve();
      });
    });
    await napcat.ready();
    server.push(readEvent("group_text"));
    await arrived;
    await new Promise(setImmediate);

    expect(heard).toEqual(["433606506"]);
    expect(logger.at("error")).toEqual([
      "A handler of message failed.",
      "A handler of message failed.",
    ]);
    expect(JSON.stringify(logger.lines)).not.toContain("CANARY");
  });

  it("encodes the token (D9)", async () => {
    const token = "a b&c=1#说?";
    const server = await startServer({ token });
    await connect(server.url, { token }).napcat.ready();
    expect(server.tokens).toEqual([token]);
  });

  it("says that the token is wrong, once, and comes back when it is right (D7, D8)", async () => {
    const port = await freePort();
    const server = await startServer({ port, token: "new" });
    const { napcat, logger } = connect(server.url, { token: "CANARY" });
    await expect(napcat.ready()).rejects.toMatchObject({ code: "napcat-auth-failed" });
    await server.until(() => server.tokens.length >= 3);
    expect(logger.at("error")).toHaveLength(1);
    expect(logger.at("warn")).toEqual([]);
    expect(JSON.stringify(logger.lines)).not.toContain("CANARY");

    await server.close();
    await startServer({ port, token: "CANARY" });
    await untilState(napcat, "ready");
  });

  it("keeps trying while nobody is there, and is ready when somebody is (D1, D2, D3)", async () => {
    const port = await freePort();
    const { napcat, logger, states } = connect(`ws://127.0.0.1:${port}`);
    const attempts = () => states.filter((state) => state === "connecting").length;
    await new Promise<void>((resolve) => {
      napcat.onState(() => attempts() >= 12 && resolve());
    });
    await startServer({ port });
    await napcat.ready();
    expect(logger.at("warn"), "one line for the whole outage").toHaveLength(1);
  });

  it("comes back after NapCat was restarted, with the same listeners", async () => {
    const port = await freePort();
    const server = await startServer({ port });
    const { napcat } = connect(server.url);
    const heard: unknown[] = [];
    napcat.on("message", ({ message_id }) => heard.push(message_id));
    await napcat.ready();
    await server.close();
    await untilState(napcat, "waiting");
    await expect(napcat.send("get_status", {})).rejects.toMatchObject({ outcome: "not-sent" });

    const again = await startServer({ port });
    await napcat.ready();
    const arrived = new Promise((resolve) => napcat.on("message.group", resolve));
    again.push(readEvent("group_text"));
    await arrived;
    await new Promise(setImmediate);
    expect(heard).toEqual([433606506]);
  });

  it("settles calls in flight when the connection breaks (D4)", async () => {
    const server = await startServer();
    server.answer("send_group_msg", () => new Promise(() => {}));
    const { napcat } = connect(server.url);
    await napcat.ready();
    const sending = napcat.send("send_group_msg", { group_id: 7, message: [] });
    await server.received("send_group_msg");
    server.dropClients();
    await expect(sending).rejects.toMatchObject({ name: "OneBotCallError", outcome: "unknown" });
  });

  it("notices a peer that has fallen silent (D5)", async () => {
    const server = await startServer({ heartbeatMs: 20 });
    const { napcat } = connect(server.url, { heartbeatMs: 20 });
    await napcat.ready();
    server.fallSilent();
    await untilState(napcat, "waiting");
  });

  it("stays connected to a quiet peer without heartbeats that answers", async () => {
    const server = await startServer();
    const { napcat, states } = connect(server.url, { heartbeatMs: 400 });
    await napcat.ready();
    await server.received("get_status", 2);
    expect(states).toEqual(["authenticating", "ready"]);
  });

  it("tells when QQ is offline and back", async () => {
    const server = await startServer();
    const { napcat } = connect(server.url);
    await napcat.ready();
    server.push(readEvent("meta_heartbeat_offline"));
    await untilState(napcat, "offline");
    server.push(readEvent("meta_heartbeat"));
    await untilState(napcat, "ready");
    server.push(readEvent("notice_bot_offline"));
    await untilState(napcat, "offline");
  });

  it("gives up an attempt whose peer opens but never answers", async () => {
    const server = await startServer();
    server.answer("get_login_info", () => new Promise(() => {}));
    const { napcat } = connect(server.url, { connectTimeoutMs: 200 });
    await untilState(napcat, "waiting");
    server.answer("get_login_info", () => ({ user_id: 5 }));
    await expect(napcat.ready()).resolves.toEqual({ selfId: "5", nickname: "" });
  });

  it("closes in bounded time, also towards a silent peer, and settles what waits (D6, D25)", async () => {
    const server = await startServer();
    server.answer("get_msg", () => new Promise(() => {}));
    const { napcat } = connect(server.url);
    await napcat.ready();
    const call = napcat.send("get_msg", { message_id: 1 });
    call.catch(() => {});
    await server.received("get_msg");
    server.fallSilent();
    await Promise.all([napcat.close(), napcat.close()]);
    await expect(call).rejects.toMatchObject({ outcome: "unknown" });
    expect(napcat.state).toBe("closed");
    await expect(napcat.ready()).rejects.toMatchObject({ code: "napcat-closed" });
  });

  it("closes while it is connecting, and by signal", async () => {
    const port = await freePort();
    const stop = new AbortController();
    const { napcat } = connect(`ws://127.0.0.1:${port}`, { signal: stop.signal });
    const ready = napcat.ready();
    stop.abort();
    await expect(ready).rejects.toMatchObject({ code: "napcat-closed" });
    await napcat.close();
  });

  it("lets a caller stop waiting without disturbing the connection", async () => {
    const port = await freePort();
    const { napcat } = connect(`ws://127.0.0.1:${port}`);
    await expect(napcat.ready(AbortSignal.abort("enough"))).rejects.toBe("enough");
    await startServer({ port });
    await napcat.ready();
  });

  it.each([
    [{ url: "http://127.0.0.1:3001" }, "Expected `url` to be a ws:// or wss:// address"],
    [{ url: "ws://127.0.0.1:3001/?access_token=CANARY" }, "Expected `url`"],
    [{ url: "ws://127.0.0.1:3001/api" }, "Expected `url`"],
    [{ url: "ws://a:CANARY@127.0.0.1" }, "Expected `url`"],
    [{ url: "ws://x", token: 5 }, "Expected `token` to be a string of whole characters, got a"],
    [{ url: "ws://x", token: "CANARY\ud800" }, "Expected `token` to be a string of whole"],
    [{ url: "ws://x", minDelayMs: 0 }, "Expected `minDelayMs` to be an integer >= 1"],
    [{ url: "ws://x", accessToken: "CANARY" }, "Unknown option `accessToken` of connectNapCat."],
  ])("refuses %j", (options, message) => {
    let thrown: unknown;
    try {
      connectNapCat(options as ConnectNapCatOptions);
    } catch (error) {
      thrown = error;
    }
    expect(String(thrown)).toContain(message);
    expect(String(thrown)).not.toContain("CANARY");
  });
});
