// A connection to NapCat that comes back by itself: url and token in, a NapCatClient with a state out.
// The only file with node-napcat-ts. Every attempt gets a new NCWebsocket, because a used one cannot be trusted:
// it may never settle, wait for a silent peer, or have switched reconnecting off for good.

import { setTimeout as sleep } from "node:timers/promises";
import {
  type EventHandleMap,
  type EventKey,
  logger as libraryLogger,
  NCWebsocket,
} from "node-napcat-ts";
import { untilAborted } from "../../abort.ts";
import { describeError, NapCatConnectionError, OneBotCallError } from "../errors.ts";
import type { NapCatCalls } from "./calls.ts";
import {
  type ConnectNapCatOptions,
  parseConnectOptions,
  type ResolvedConnectOptions,
} from "./connect-options.ts";
import type { NapCatClient } from "./napcat-client.ts";
import { type LoginInfo, Session, type SessionEnd, type SocketClient } from "./session.ts";

/**
 * - `connecting`, `authenticating`: an attempt is on its way
 * - `ready`: messages come and go
 * - `offline`: NapCat is there, but QQ has logged the account out
 * - `waiting`: the connection was lost; the next attempt comes by itself
 * - `auth-failed`: NapCat refused the token; tried again now and then
 * - `closed`: for good
 */
export type ConnectionState =
  | "connecting"
  | "authenticating"
  | "ready"
  | "offline"
  | "waiting"
  | "auth-failed"
  | "closed";

/** A connection that lives until it is closed. Handlers may throw and reject: that is logged, and others go on. */
export interface NapCatConnection extends NapCatClient {
  readonly state: ConnectionState;
  /** Who the bot is; `undefined` until the first login. */
  readonly login: LoginInfo | undefined;
  on<T extends EventKey>(event: T, handler: EventHandleMap[T]): this;
  off<T extends EventKey>(event: T, handler: EventHandleMap[T]): this;
  /** @throws {OneBotCallError} if NapCat refuses, does not answer in time, or is not there. */
  send(action: string, params: object): Promise<unknown>;
  /**
   * Resolves when messages can come and go.
   *
   * @throws {NapCatConnectionError} if the token is wrong or the connection is closed.
   * @throws {unknown} `signal.reason` when aborted.
   */
  ready(signal?: AbortSignal): Promise<LoginInfo>;
  /** Tells every change of `state`; returns what ends that. */
  onState(listener: (state: ConnectionState) => void): () => void;
  /** Ends the connection and every pending call, in bounded time. Calling it again is fine. */
  close(): Promise<void>;
  [Symbol.asyncDispose](): Promise<void>;
}

/**
 * Connects to NapCat and stays connected: endless attempts with growing pauses, a proven token, a watch for silence.
 *
 * @throws {TypeError | RangeError} naming every option that is wrong.
 *
 * @example
 * const napcat = connectNapCat({ url: "ws://127.0.0.1:3001", token: process.env.NAPCAT_TOKEN });
 * const { selfId } = await napcat.ready();
 */
export function connectNapCat(options: ConnectNapCatOptions): NapCatConnection {
  return new Supervisor(parseConnectOptions(options));
}

const LIBRARY_TIMEOUT_MS = 90_000;

type Handler = (context: unknown) => unknown;

class Supervisor implements NapCatConnection {
  readonly #options: ResolvedConnectOptions;
  readonly #handlers = new Map<string, Set<Handler>>();
  readonly #forwarders = new Map<string, (context: unknown) => void>();
  readonly #stateListeners = new Set<(state: ConnectionState) => void>();
  readonly #closing = new AbortController();
  readonly #finished: Promise<void>;
  #client: SocketClient | undefined;
  /** Set while messages can come and go. */
  #calls: NapCatCalls | undefined;
  /** How the last attempt ended, until one is ready. */
  #trouble: SessionEnd["kind"] | undefined;
  #state: ConnectionState = "connecting";
  #login: LoginInfo | undefined;

  constructor(options: ResolvedConnectOptions) {
    this.#options = options;
    const onAbort = () => this.#closing.abort();
    options.signal?.addEventListener("abort", onAbort, { once: true });
    if (options.signal?.aborted) onAbort();
    this.#finished = this.#supervise().finally(() => {
      options.signal?.removeEventListener("abort", onAbort);
      this.#enter("closed");
    });
  }

  get state(): ConnectionState {
    return this.#state;
  }

  get login(): LoginInfo | undefined {
    return this.#login;
  }

  on(event: string, handler: Handler): this {
    const handlers = this.#handlers.get(event) ?? new Set();
    this.#handlers.set(event, handlers.add(handler));
    if (!this.#forwarders.has(event)) {
      const forward = (context: unknown) => this.#dispatch(event, context);
      this.#forwarders.set(event, forward);
      this.#client?.on(event, forward);
    }
    return this;
  }

  off(event: string, handler: Handler): this {
    this.#handlers.get(event)?.delete(handler);
    return this;
  }

  send(action: string, params: object): Promise<unknown> {
    return (
      this.#calls?.call(action, params) ??
      Promise.reject(new OneBotCallError(action, "not-sent", "there is no connection to NapCat"))
    );
  }

  ready(signal?: AbortSignal): Promise<LoginInfo> {
    const answer = new Promise<LoginInfo>((resolve, reject) => {
      const settle = (): boolean => {
        if (this.#calls !== undefined && this.#login !== undefined) resolve(this.#login);
        else if (this.#trouble === "auth-failed") {
          reject(new NapCatConnectionError("napcat-auth-failed"));
        } else if (this.#state === "closed") reject(new NapCatConnectionError("napcat-closed"));
        else return false;
        return true;
      };
      if (signal?.aborted || settle()) return;
      const stop = () => {
        stopListening();
        signal?.removeEventListener("abort", stop);
      };
      const stopListening = this.onState(() => settle() && stop());
      signal?.addEventListener("abort", stop, { once: true });
    });
    return untilAborted(answer, signal);
  }

  onState(listener: (state: ConnectionState) => void): () => void {
    this.#stateListeners.add(listener);
    return () => this.#stateListeners.delete(listener);
  }

  async close(): Promise<void> {
    this.#closing.abort();
    await this.#finished;
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close();
  }

  /** Attempt after attempt, without end. */
  async #supervise(): Promise<void> {
    const { minDelayMs, maxDelayMs, authRetryMs, logger } = this.#options;
    const { signal } = this.#closing;
    let failures = 0;
    while (!signal.aborted) {
      this.#enter("connecting");
      const { end, wasReady } = await this.#attempt();
      if (signal.aborted) return;
      failures = wasReady ? 0 : failures + 1;
      const backoffMs = Math.min(maxDelayMs, minDelayMs * 2 ** Math.min(failures, 30));
      // Jitter: not all bots of a machine at the same moment.
      const jitter = 0.75 + Math.random() / 4;
      const delayMs = Math.round((end.kind === "auth-failed" ? authRetryMs : backoffMs) * jitter);
      logger.debug("Waiting before the next attempt to reach NapCat.", { delayMs });
      await sleep(delayMs, undefined, { signal }).catch(() => {});
    }
  }

  /** One attempt, until it is over. */
  async #attempt(): Promise<{ end: SessionEnd; wasReady: boolean }> {
    const client = this.#newClient();
    let wasReady = false;
    const session = new Session(client, {
      connectTimeoutMs: this.#options.connectTimeoutMs,
      heartbeatMs: this.#options.heartbeatMs,
      signal: this.#closing.signal,
      onOpen: () => this.#enter("authenticating"),
      onReady: (login) => {
        wasReady = true;
        this.#login = login;
        this.#calls = session.calls;
        this.#trouble = undefined;
        this.#options.logger.info("Connected to NapCat.", { selfId: login.selfId });
        this.#enter("ready");
      },
      onOnline: (online) => {
        if (wasReady) this.#enter(online ? "ready" : "offline");
      },
    });
    this.#client = client;
    for (const [event, forward] of this.#forwarders) client.on(event, forward);
    const end = await session.run();
    for (const [event, forward] of this.#forwarders) client.off(event, forward);
    this.#client = undefined;
    this.#calls = undefined;
    if (!this.#closing.signal.aborted) this.#report(end);
    await session.leave();
    return { end, wasReady };
  }

  #newClient(): SocketClient {
    const { url, token, logger } = this.#options;
    // The library writes to the console and quotes what it cannot read, which people may have written. It has one logger
    // for all of its clients.
    libraryLogger.warn = (_library, _part, what) =>
      logger.debug("NapCat sent what nobody knows.", { what: `${what}`.replace(/:.*/su, "") });
    libraryLogger.dir = () => {};
    const client = new NCWebsocket({
      baseUrl: url,
      // The library puts it into the URL as it is.
      accessToken: encodeURIComponent(token),
      reconnection: { enable: false },
      // Our own deadlines are shorter; this only clears what they left behind in the library.
      apiTimeout: LIBRARY_TIMEOUT_MS,
    });
    // Its types allow known event and action names only; at run time any name will do.
    return client as unknown as SocketClient;
  }

  /** One line for each new kind of trouble, however many attempts it lasts. */
  #report({ kind, reason }: SessionEnd): void {
    const { logger } = this.#options;
    const isNews = kind !== this.#trouble;
    this.#trouble = kind;
    if (kind === "auth-failed") {
      if (isNews) logger.error(new NapCatConnectionError("napcat-auth-failed").message);
      this.#enter("auth-failed");
      return;
    }
    if (isNews) logger.warn("No connection to NapCat; trying until there is one.", { reason });
    this.#enter("waiting");
  }

  #enter(state: ConnectionState): void {
    if (state === this.#state && state !== "connecting") return;
    this.#state = state;
    for (const listener of [...this.#stateListeners])
      this.#guard("A state listener", listener, state);
  }

  #dispatch(event: string, context: unknown): void {
    for (const handler of [...(this.#handlers.get(event) ?? [])]) {
      this.#guard(`A handler of ${event}`, handler, context);
    }
  }

  /** One handler that throws or rejects must neither skip the others nor end the process. */
  #guard<T>(what: string, handler: (value: T) => unknown, value: T): void {
    const report = (error: unknown) =>
      this.#options.logger.error(`${what} failed.`, { error: describeError(error) });
    try {
      Promise.resolve(handler(value)).catch(report);
    } catch (error) {
      report(error);
    }
  }
}
