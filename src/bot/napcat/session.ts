// One attempt to be connected: a fresh client in, how it ended out. Open, prove the token, then watch for silence.
// It never tries again: that is the connection's part.

import { setImmediate, setTimeout as sleep } from "node:timers/promises";
import { settledWithin, startDeadline, untilAborted } from "../../abort.ts";
import { describeError } from "../errors.ts";
import { NapCatCalls } from "./calls.ts";
import type { NapCatClient } from "./napcat-client.ts";
import { idOf, isRecord, numberOf, textOf } from "./wire.ts";

/** A fresh NCWebsocket with its own reconnecting switched off, or a stand-in. */
export interface SocketClient extends NapCatClient {
  on(event: string, handler: (context: unknown) => void): unknown;
  off(event: string, handler: (context: unknown) => void): unknown;
  connect(): Promise<unknown>;
  disconnect(): Promise<unknown>;
}

/** Who the bot is on QQ. */
export interface LoginInfo {
  readonly selfId: string;
  readonly nickname: string;
}

/** How a session ended; `reason` is for people. */
export interface SessionEnd {
  readonly kind: "auth-failed" | "lost" | "closed";
  readonly reason: string;
}

export interface SessionOptions {
  readonly connectTimeoutMs: number;
  /** Expected time between heartbeats, until NapCat says how long it is. */
  readonly heartbeatMs: number;
  readonly signal: AbortSignal;
  readonly onOpen: () => void;
  readonly onReady: (login: LoginInfo) => void;
  /** QQ went offline or came back, while the connection to NapCat stays. */
  readonly onOnline: (online: boolean) => void;
}

/** NapCat's code for a wrong token; it comes after the socket has opened. */
const AUTH_FAILED = 1403;
/** Other servers close the socket with one of these (SnowLuma, Lagrange) … */
const AUTH_FAILED_CLOSE = [1008, 4001];
/** … or do not let it open, and say why in HTTP (Shamrock, go-cqhttp, any reverse proxy). */
const AUTH_FAILED_UPGRADE = /\bserver response: 40[13]\b/iu;
/** A call fails at once on a socket that is being closed; why it is closed, its close event tells a moment later. */
const CLOSE_EVENT_MS = 1_000;
/** A client that still waits for its peer to say goodbye is left behind after this long. */
const DISCONNECT_TIMEOUT_MS = 1_000;
/** Silence of this many heartbeats is suspicious; then NapCat has another half to answer a question. */
const SUSPICIOUS_HEARTBEATS = 2;

/** One attempt to be connected. */
export class Session {
  readonly calls: NapCatCalls;
  readonly #client: SocketClient;
  readonly #options: SessionOptions;
  readonly #listeners: [event: string, handler: (context: unknown) => void][] = [];
  readonly #ending = new AbortController();
  #end: SessionEnd | undefined;
  #ready = false;
  #heartbeatMs: number;
  #lastSignMs = performance.now();

  constructor(client: SocketClient, options: SessionOptions) {
    this.#client = client;
    this.#options = options;
    this.#heartbeatMs = options.heartbeatMs;
    this.calls = new NapCatCalls(client);
  }

  /** Runs until the connection is over, one way or another. Never rejects. */
  async run(): Promise<SessionEnd> {
    const { signal, connectTimeoutMs, onOpen, onReady } = this.#options;
    const onAbort = () => this.#over("closed", "closed");
    signal.addEventListener("abort", onAbort, { once: true });
    if (signal.aborted) onAbort();
    const deadline = startDeadline(connectTimeoutMs, this.#ending.signal);
    try {
      const opened = this.#listen();
      this.#client.connect().catch((error) => this.#over("lost", describeError(error)));
      await untilAborted(opened, deadline.signal);
      onOpen();
      const login = await this.#logIn(deadline.signal);
      deadline.end();
      this.#ready = true;
      onReady(login);
      await this.#watch();
    } catch (error) {
      if (!deadline.signal.aborted) await this.#ended(CLOSE_EVENT_MS);
      this.#over("lost", deadline.signal.aborted ? "no answer in time" : describeError(error));
    } finally {
      deadline.end();
      signal.removeEventListener("abort", onAbort);
      this.calls.close();
    }
    return this.#end ?? { kind: "lost", reason: "unknown" };
  }

  /** Says goodbye, in bounded time: some peers never answer it. */
  async leave(): Promise<void> {
    const goodbye = this.#client.disconnect().catch(() => {});
    for (const [event, handler] of this.#listeners.splice(0)) this.#client.off(event, handler);
    await settledWithin(goodbye, DISCONNECT_TIMEOUT_MS);
  }

  /** Resolves when the end is known, or when this time is over. */
  async #ended(timeoutMs: number): Promise<void> {
    await sleep(timeoutMs, undefined, { signal: this.#ending.signal }).catch(() => {});
  }

  /** The first reason counts: whatever comes after it is its consequence. */
  #over(kind: SessionEnd["kind"], reason: string): void {
    this.#end ??= { kind, reason };
    this.#ending.abort(this.#end);
  }

  #on(event: string, handler: (context: unknown) => void): void {
    this.#listeners.push([event, handler]);
    this.#client.on(event, handler);
  }

  /** Listens to everything that matters; resolves when the socket is open. */
  #listen(): Promise<void> {
    const alive = () => {
      this.#lastSignMs = performance.now();
    };
    for (const event of ["message", "message_sent", "notice", "request", "meta_event"]) {
      this.#on(event, alive);
    }
    this.#on("api.response", alive);
    this.#on("meta_event.heartbeat", (event) => this.#onHeartbeat(event));
    this.#on("notice.bot_offline", () => this.#options.onOnline(false));
    this.#on("socket.close", (event) => {
      // Once the token was accepted, the same codes mean something else.
      if (!this.#ready && isTokenRefusal(event)) this.#over("auth-failed", closeReason(event));
      else this.#over("lost", closeReason(event));
    });
    this.#on("socket.error", (event) => {
      if (isTokenError(event)) this.#over("auth-failed", "the token is wrong");
    });
    return new Promise((resolve) => this.#on("socket.open", () => resolve()));
  }

  #onHeartbeat(event: unknown): void {
    if (!isRecord(event)) return;
    // 0 means that NapCat was told to send none.
    const interval = numberOf(event.interval) ?? 0;
    if (interval > 0) this.#heartbeatMs = interval;
    if (isRecord(event.status) && typeof event.status.online === "boolean") {
      this.#options.onOnline(event.status.online);
    }
  }

  /** An open socket proves nothing: NapCat looks at the token afterwards. */
  async #logIn(signal: AbortSignal): Promise<LoginInfo> {
    const answer = await this.calls.call("get_login_info", {}, { signal });
    const selfId = isRecord(answer) ? idOf(answer.user_id) : undefined;
    if (!isRecord(answer) || selfId === undefined) throw new Error("get_login_info gave no number");
    return { selfId, nickname: textOf(answer.nickname) };
  }

  /** Returns when the session is over; a peer that is silent and answers nothing ends it. */
  async #watch(): Promise<void> {
    const { signal } = this.#ending;
    while (!signal.aborted) {
      const suspicious = this.#lastSignMs + SUSPICIOUS_HEARTBEATS * this.#heartbeatMs;
      const waitMs = suspicious - performance.now();
      if (waitMs > 0) await sleep(waitMs, undefined, { signal }).catch(() => {});
      else if (!(await this.#answers())) this.#over("lost", "NapCat fell silent");
    }
  }

  async #answers(): Promise<boolean> {
    const asked = performance.now();
    const timeoutMs = Math.max(1, this.#heartbeatMs / 2);
    await this.calls
      .call("get_status", {}, { timeoutMs, signal: this.#ending.signal })
      .catch(() => {});
    // This process may have been too busy to read the answer: let it read before judging.
    await setImmediate();
    await setImmediate();
    return this.#lastSignMs >= asked || this.#ending.signal.aborted;
  }
}

/** NapCat's frame, or an HTTP status in place of a WebSocket. */
function isTokenError(event: unknown): boolean {
  if (!isRecord(event)) return false;
  if (isRecord(event.info) && event.info.errno === AUTH_FAILED) return true;
  const errors = Array.isArray(event.errors) ? event.errors : [];
  return errors.some((error) => error instanceof Error && AUTH_FAILED_UPGRADE.test(error.message));
}

function isTokenRefusal(event: unknown): boolean {
  return isRecord(event) && AUTH_FAILED_CLOSE.includes(numberOf(event.code) ?? 0);
}

function closeReason(event: unknown): string {
  const code = isRecord(event) ? numberOf(event.code) : undefined;
  return code === undefined ? "the socket was closed" : `the socket was closed with code ${code}`;
}
