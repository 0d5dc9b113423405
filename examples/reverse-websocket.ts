// A reverse WebSocket: this process is the server, and NapCat, or any OneBot 11 program, connects to it.
import { EventEmitter } from "node:events";
import type { IncomingMessage } from "node:http";
import { installVlm, type NapCatClient, OneBotCallError } from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";
import { type WebSocket, WebSocketServer } from "ws";

type Frame = Record<string, unknown>;
type Answer = { resolve(data: unknown): void; reject(answer: Frame): void };

/** All a bot needs of a connection: `on`, `off`, `send`, and the event `socket.close`. */
class ReverseWebSocket extends EventEmitter implements NapCatClient {
  readonly #answers = new Map<string, Answer>();
  #socket: WebSocket | undefined;
  #calls = 0;

  /** A newer connection takes the place of an older one. */
  accept(socket: WebSocket): void {
    this.#socket?.terminate();
    this.#socket = socket;
    socket.on("message", (data) => this.#receive(data.toString()));
    socket.on("close", () => {
      if (this.#socket === socket) this.#socket = undefined;
      this.#answers.clear();
      this.emit("socket.close"); // the bot settles what waits for an answer
    });
  }

  send(action: string, params: object): Promise<unknown> {
    const socket = this.#socket;
    if (socket?.readyState !== socket?.OPEN || socket === undefined) {
      return Promise.reject(new OneBotCallError(action, "not-sent", "nobody is connected"));
    }
    return new Promise((resolve, reject) => {
      const echo = `${++this.#calls}`;
      this.#answers.set(echo, { resolve, reject });
      socket.send(JSON.stringify({ action, params, echo }));
    });
  }

  #receive(text: string): void {
    let frame: Frame;
    try {
      frame = JSON.parse(text);
    } catch {
      return; // not OneBot
    }
    const answer = this.#answers.get(String(frame.echo));
    if (answer === undefined) {
      this.emit(String(frame.post_type), frame); // message, notice, meta_event
      return;
    }
    this.#answers.delete(String(frame.echo));
    if (frame.status === "ok") answer.resolve(frame.data);
    else answer.reject(frame);
  }
}

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const onebot = new ReverseWebSocket();
const bot = installVlm(onebot, { model });

const expected = `Bearer ${process.env.ONEBOT_TOKEN ?? ""}`;
const server = new WebSocketServer({
  host: "127.0.0.1",
  port: Number(process.env.PORT ?? 6700),
  verifyClient: ({ req }: { req: IncomingMessage }) => req.headers.authorization === expected,
});
server.on("connection", (socket) => onebot.accept(socket));
server.on("listening", () => console.log("等待 OneBot 连接", server.address()));

process.once("SIGINT", async () => {
  await bot.close();
  for (const socket of server.clients) socket.terminate();
  server.close();
  await model.dispose();
});
