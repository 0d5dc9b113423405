// The requests being read or answered: how many there may be, how large, and how all of them are ended.
// It knows nothing of what is asked.

import { isUtf8 } from "node:buffer";
import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono, MiddlewareHandler } from "hono";
import { bodyLimit } from "hono/body-limit";
import { type Deadline, sharedController, startDeadline } from "../../abort.ts";
import type { DebugServerLimits } from "./limits.ts";
import { RequestError, toRequestError } from "./request-error.ts";
import { Uploads } from "./uploads.ts";

/** The app runs on Node's own server, whose response tells when a client is gone. */
export type DebugHono = Hono<{ Bindings: HttpBindings }>;
export type DebugContext = Context<{ Bindings: HttpBindings }>;

export class OpenRequests {
  /** Refuses bodies that are too large. */
  readonly limitBody: MiddlewareHandler;
  /** Counts from the first byte of a body to the last of an answer: both take memory. */
  readonly refuseWhenBusy: MiddlewareHandler<{ Bindings: HttpBindings }>;
  readonly #stopping = sharedController();
  readonly #running = new Set<Promise<unknown>>();
  readonly #uploads = new Uploads();
  #open = 0;

  constructor(limits: DebugServerLimits) {
    this.limitBody = bodyLimit({
      maxSize: limits.maxBodyBytes,
      onError: () => {
        throw new RequestError(
          413,
          "body-too-large",
          `The request is larger than ${limits.maxBodyBytes} bytes.`,
        );
      },
    });
    this.refuseWhenBusy = async (context, next) => {
      if (this.#open >= limits.maxRequests && !this.#uploads.endSlowest()) {
        throw new RequestError(
          503,
          "too-many-requests",
          `${this.#open} messages are being answered and the limit is ${limits.maxRequests}.`,
          { "Retry-After": "5" },
        );
      }
      this.#open++;
      const end = this.#uploads.begin(context.env.incoming);
      context.env.outgoing.once("close", () => {
        end();
        this.#open--;
      });
      await next();
    };
  }

  /** A signal that ends with the client or with the server. `end` it. */
  begin(context: DebugContext): Deadline {
    return startDeadline(undefined, context.req.raw.signal, this.#stopping.signal);
  }

  /** Remembers work until it ends, so that `stop` can wait for it. */
  async track<T>(work: Promise<T>): Promise<T> {
    this.#running.add(work);
    try {
      return await work;
    } finally {
      this.#running.delete(work);
    }
  }

  /** Aborts everything being answered and resolves when the last one has ended. */
  async stop(): Promise<void> {
    this.#stopping.abort(new RequestError(503, "shutting-down", "The bot is shutting down."));
    await Promise.allSettled(this.#running);
  }
}

/** The error behind an abort is ours when the server stops; when the client left, nobody reads it. */
export function asRefusal(error: unknown, request: Deadline): RequestError {
  if (!request.signal.aborted) return toRequestError(error);
  const { reason } = request.signal;
  return reason instanceof RequestError ? reason : clientGone();
}

/** The body of a request. @throws {RequestError} `bad-json` */
export async function readJson(context: DebugContext): Promise<unknown> {
  const encoding = context.req.header("content-encoding") ?? "identity";
  if (encoding !== "identity") {
    throw new RequestError(400, "bad-json", "The body is compressed. Send it as it is.");
  }
  const bytes = new Uint8Array(await context.req.arrayBuffer());
  if (!isUtf8(bytes)) {
    // What a shell with another code page sends would be read as other words, and answered.
    throw new RequestError(400, "bad-json", "The body is not UTF-8, as JSON must be.");
  }
  try {
    // Without the byte order mark that editors on Windows put in front.
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    // The parser's own message quotes what somebody wrote.
    throw new RequestError(400, "bad-json", "The body is not valid JSON.");
  }
}

/** Any error of a request; whatever fails because the client left is no error of the bot's. */
export function refusalOf(error: unknown, { env }: DebugContext): RequestError {
  return env.incoming.errored ? clientGone() : toRequestError(error);
}

/** Nobody reads it. */
function clientGone(): RequestError {
  return new RequestError(503, "client-gone", "The client closed the connection.");
}
