// A real WebSocket server that speaks NapCat's side of OneBot 11: token, lifecycle, heartbeat, echoed answers.
// In: events to push and scripted answers. Out: every request that came.

import type { AddressInfo } from "node:net";
import { type WebSocket, WebSocketServer } from "ws";
import { BOT_ID } from "../../src/bot/testing.ts";

export interface NapCatRequest {
  readonly action: string;
  readonly params: Readonly<Record<string, unknown>>;
}

type Params = Readonly<Record<string, unknown>>;
type Answer = (params: Params) => unknown;

export interface NapCatServerOptions {
  readonly port?: number;
  readonly token?: string;
  /** 0: no heartbeats. */
  readonly heartbeatMs?: number;
}

/** Starts a server on a free port of the loopback, or on the given one. */
export async function startNapCatServer(options: NapCatServerOptions = {}): Promise<NapCatServer> {
  const sockets = new WebSocketServer({ host: "127.0.0.1", port: options.port ?? 0 });
  await new Promise<void>((resolve, reject) => {
    sockets.once("listening", resolve);
    sockets.once("error", reject);
  });
  return new NapCatServer(sockets, options);
}

export class NapCatServer {
  readonly requests: NapCatRequest[] = [];
  /** Tokens clients came with, decoded. */
  readonly tokens: (string | null)[] = [];
  readonly #sockets: WebSocketServer;
  readonly #options: NapCatServerOptions;
  readonly #answers = new Map<string, Answer>();
  readonly #waiting: (() => void)[] = [];
  #silent = false;

  constructor(sockets: WebSocketServer, options: NapCatServerOptions) {
    this.#sockets = sockets;
    this.#options = options;
    let lastMessageId = 500_000_000;
    const sent = () => ({ message_id: ++lastMessageId });
    this.answer("send_group_msg", sent).answer("send_private_msg", sent);
    this.answer("get_login_info", () => ({ user_id: BOT_ID, nickname: "看图猫" }));
    this.answer("get_status", () => ({ online: true, good: true, stat: {} }));
    sockets.on("connection", (socket, request) => {
      const token = new URL(request.url ?? "/", "ws://x").searchParams.get("access_token");
      this.tokens.push(token);
      this.#changed();
      if ((options.token ?? "") === (token ?? "")) this.#accept(socket);
      else this.#refuse(socket);
    });
  }

  get url(): string {
    return `ws://127.0.0.1:${(this.#sockets.address() as AddressInfo).port}`;
  }

  get port(): number {
    return (this.#sockets.address() as AddressInfo).port;
  }

  /** Scripts the `data` of an answer. A function that throws a string makes NapCat refuse with that message. */
  answer(action: string, answer: Answer): this {
    this.#answers.set(action, answer);
    return this;
  }

  /** Answers so until the function that is returned is called: for servers that others go on with. */
  instead(action: string, answer: Answer): () => void {
    const before = this.#answers.get(action);
    this.#answers.set(action, answer);
    return () => {
      if (before === undefined) this.#answers.delete(action);
      else this.#answers.set(action, before);
    };
  }

  /** Sends an event to every client. */
  push(event: object): void {
    this.pushText(JSON.stringify(event));
  }

  /** Sends a frame that may be anything. */
  pushText(frame: string): void {
    for (const client of this.#sockets.clients) client.send(frame);
  }

  /** Resolves when every client has answered a ping of the protocol below OneBot. */
  async pinged(): Promise<void> {
    const clients = [...this.#sockets.clients];
    await Promise.all(
      clients.map(
        (client) =>
          new Promise<void>((resolve) => {
            client.once("pong", () => resolve());
            client.ping();
          }),
      ),
    );
  }

  /** From now on nothing is sent and nothing answered, and connections stay open. */
  fallSilent(): void {
    this.#silent = true;
    for (const client of this.#sockets.clients) client.pause();
  }

  /** Breaks all connections without a goodbye. */
  dropClients(): void {
    for (const client of this.#sockets.clients) client.terminate();
  }

  /** Resolves when this has become true of the server. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.push(resolve));
  }

  /** Resolves with the requests of one action as soon as there are `count` of them. */
  async received(action: string, count = 1): Promise<readonly NapCatRequest[]> {
    const found = () => this.requests.filter((request) => request.action === action);
    await this.until(() => found().length >= count);
    return found();
  }

  async close(): Promise<void> {
    this.dropClients();
    await new Promise<void>((resolve) => this.#sockets.close(() => resolve()));
  }

  #accept(socket: WebSocket): void {
    if (this.#silent) socket.pause();
    this.#send(socket, {
      time: Math.floor(Date.now() / 1000),
      self_id: BOT_ID,
      post_type: "meta_event",
      meta_event_type: "lifecycle",
      sub_type: "connect",
    });
    const interval = this.#options.heartbeatMs ?? 0;
    if (interval > 0) {
      const timer = setInterval(() => this.#send(socket, heartbeat(interval)), interval);
      socket.on("close", () => clearInterval(timer));
    }
    socket.on("message", (data) => this.#respond(socket, JSON.parse(String(data))));
  }

  /** NapCat lets the socket open, says no, and closes it. */
  #refuse(socket: WebSocket): void {
    socket.send(
      JSON.stringify({
        status: "failed",
        retcode: 1403,
        data: null,
        message: "token验证失败",
        wording: "token验证失败",
        echo: null,
        stream: "normal-action",
      }),
    );
    socket.close();
  }

  async #respond(
    socket: WebSocket,
    { action, params, echo }: { action: string; params: Params; echo: unknown },
  ): Promise<void> {
    this.requests.push({ action, params });
    this.#changed();
    const frame = { data: null, message: "", wording: "", echo, stream: "normal-action" };
    const answer = this.#answers.get(action);
    if (answer === undefined) {
      const message = `不支持的API ${action}`;
      return this.#send(socket, { ...frame, status: "failed", retcode: 1404, message });
    }
    try {
      const data = await answer(params);
      this.#send(socket, { ...frame, status: "ok", retcode: 0, data });
    } catch (error) {
      const message = String(error);
      this.#send(socket, { ...frame, status: "failed", retcode: 1200, message, wording: message });
    }
  }

  #send(socket: WebSocket, frame: object): void {
    if (!this.#silent) socket.send(JSON.stringify(frame));
  }

  #changed(): void {
    for (const resolve of this.#waiting.splice(0)) resolve();
  }
}

function heartbeat(interval: number) {
  return {
    time: Math.floor(Date.now() / 1000),
    self_id: BOT_ID,
    post_type: "meta_event",
    meta_event_type: "heartbeat",
    status: { online: true, good: true },
    interval,
  };
}
