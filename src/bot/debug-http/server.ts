// The debug adapter on a socket: talk to the bot over HTTP, or in a browser, without QQ.
// In: a responder and an address. Out: a running server. Loopback unless told otherwise, and then with a token.

import { once } from "node:events";
import { createServer, type Server } from "node:http";
import type { Socket } from "node:net";
import { getRequestListener, RequestError as MalformedRequest } from "@hono/node-server";
import { callback, integer, matching, object, parseOptions, text } from "../../parse-options.ts";
import type { Watched } from "../status/bot-status.ts";
import type { ShouldReply } from "../triggers/should-reply.ts";
import { createDebugApp } from "./app.ts";
import { type DebugServerLimits, LIMITS_SCHEMA, resolveLimits } from "./limits.ts";
import { isLoopback } from "./loopback.ts";
import { readPageFiles } from "./page-files.ts";
import { RequestError, toErrorBody, toRequestError } from "./request-error.ts";
import type { ChatResponder, DescribedModel } from "./served-bot.ts";
import { refuseSocket } from "./socket-refusal.ts";

export type { DebugServerLimits } from "./limits.ts";
export { isLoopback } from "./loopback.ts";
export type { ChatResponder, DescribedModel } from "./served-bot.ts";

export interface DebugServerOptions {
  readonly responder: ChatResponder;
  /** What `/health` and the page tell about: the responder's model. */
  readonly model: DescribedModel;
  /** Name or address to listen on. Anything but loopback needs a token. @default "127.0.0.1" */
  readonly host?: string;
  /** `0` takes a free one. */
  readonly port: number;
  /** At least 16 characters. Every request must carry it, see docs. */
  readonly token?: string;
  readonly limits?: Partial<DebugServerLimits>;
  /** `bot.watched` of `installVlm`: adds its numbers at `/metrics` and the status page. @default none */
  readonly watched?: Watched;
  /** Decides about group messages that say they are not for the bot, such as a bot's `shouldReply`. @default none is answered */
  readonly shouldReply?: ShouldReply;
  /** Told of every error behind a 500, 502 or 504; clients see little of it. @default console.error */
  readonly onError?: (error: unknown) => void;
}

export interface DebugServer {
  /** Without the token, such as `http://127.0.0.1:9999`. */
  readonly url: string;
  readonly port: number;
  /** Aborts what is being answered, then closes every connection. Calling it again is fine. */
  close(): Promise<void>;
}

const MIN_TOKEN_LENGTH = 16;

/**
 * Opens the debug adapter.
 *
 * @throws {TypeError | RangeError} for a wrong option, among them a host that is not loopback without a token.
 * @throws the error of the socket, such as EADDRINUSE.
 * @example
 * const server = await startDebugServer({ responder, model, port: 9999 });
 * console.log(server.url);
 */
export async function startDebugServer(options: DebugServerOptions): Promise<DebugServer> {
  parseOptions(DEBUG_SERVER_SCHEMA, options, "startDebugServer");
  const host = options.host ?? "127.0.0.1";
  checkToken(host, options.token);
  const { app, requests } = createDebugApp({
    responder: options.responder,
    limits: resolveLimits(options.limits),
    shouldReply: options.shouldReply ?? (async () => false),
    onError: options.onError ?? ((error) => console.error(error)),
    model: options.model,
    watched: options.watched,
    page: await readPageFiles(),
    token: options.token,
    loopbackOnly: isLoopback(host),
  });

  const listener = getRequestListener(app.fetch, {
    // Other people's code in this process keeps Node's own Request and Response.
    overrideGlobalObjects: false,
    errorHandler: (error) => refuse(error),
  });
  const server = createServer((incoming, outgoing) => void listener(incoming, outgoing));
  server.on("clientError", refuseBrokenHttp);
  server.listen(options.port, host.replace(/^\[(.*)\]$/, "$1"));
  await once(server, "listening");

  const { address, port } = boundAddress(server);
  let closed: Promise<void> | undefined;
  return {
    url: `http://${isLoopback(host) && host !== "localhost" ? address : host}:${port}`,
    port,
    close: () => {
      closed ??= close(server, () => requests.stop());
      return closed;
    },
  };
}

async function close(server: Server, stopRequests: () => Promise<void>): Promise<void> {
  const closed = once(server, "close");
  server.close();
  await stopRequests();
  // Answers that were just written get this turn of the event loop to leave.
  await new Promise((resolve) => setImmediate(resolve));
  server.closeAllConnections();
  await closed;
}

const hasMethod = (name: string) => (value: unknown) =>
  typeof value === "object" && value !== null && typeof Reflect.get(value, name) === "function";

/** @internal */
export const DEBUG_SERVER_SCHEMA = object({
  responder: matching<ChatResponder>("a Responder", hasMethod("respond")),
  model: matching<DescribedModel>(
    "a VisionLanguageModel",
    (value) =>
      typeof value === "object" && value !== null && typeof Reflect.get(value, "info") === "object",
  ),
  host: text().optional(),
  port: integer(0, 65_535),
  token: text().optional(),
  limits: LIMITS_SCHEMA.optional(),
  watched: matching<Watched>("`watched` of a bot", hasMethod("status")).optional(),
  shouldReply: callback().optional(),
  onError: callback().optional(),
});

function checkToken(host: string, token: string | undefined): void {
  if (token === undefined && !isLoopback(host)) {
    throw new TypeError(
      `Expected \`token\` to be set, because \`${host}\` can be reached from other machines.`,
    );
  }
  if (token !== undefined && token.length < MIN_TOKEN_LENGTH) {
    throw new RangeError(
      `Expected \`token\` to have at least ${MIN_TOKEN_LENGTH} characters, got ${token.length}`,
    );
  }
}

function boundAddress(server: Server): { address: string; port: number } {
  const bound = server.address();
  if (bound === null || typeof bound === "string") {
    throw new Error("The debug adapter listens on no port.");
  }
  return {
    address: bound.family === "IPv6" ? `[${bound.address}]` : bound.address,
    port: bound.port,
  };
}

/** Requests so broken that they never reach a route. */
function refuse(error: unknown): Response {
  const refusal =
    error instanceof MalformedRequest
      ? new RequestError(400, "bad-request", "The request line or the Host header is not valid.")
      : toRequestError(error);
  return Response.json(toErrorBody(refusal), { status: refusal.status });
}

/** What is not HTTP at all, or has headers without end, answered in JSON too. */
function refuseBrokenHttp(error: NodeJS.ErrnoException, socket: Socket): void {
  if (error.code === "ECONNRESET") {
    socket.destroy();
    return;
  }
  const status =
    { HPE_HEADER_OVERFLOW: 431, ERR_HTTP_REQUEST_TIMEOUT: 408 }[error.code ?? ""] ?? 400;
  refuseSocket(socket, status);
}
