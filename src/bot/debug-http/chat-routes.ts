// Messages that arrive over HTTP. In: the JSON of a group or private message. Out: the responder's reply, as JSON or
// streamed. It knows nothing of the model; pictures stay bytes.

import type { HttpBindings } from "@hono/node-server";
import type { Context, Hono } from "hono";
import { bodyLimit } from "hono/body-limit";
import { type Deadline, sharedController, startDeadline } from "../../abort.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { Turn } from "../chat/turn.ts";
import { parseChatRequest, parseResetRequest } from "./chat-request.ts";
import type { DebugServerLimits } from "./limits.ts";
import { streamReply } from "./reply-stream.ts";
import { RequestError, toErrorBody, toRequestError } from "./request-error.ts";
import type { ChatResponder } from "./served-bot.ts";

/** The app runs on Node's own server, whose response tells when a client is gone. */
export type DebugHono = Hono<{ Bindings: HttpBindings }>;
type ChatContext = Context<{ Bindings: HttpBindings }>;

export interface ChatRoutesOptions {
  readonly responder: ChatResponder;
  readonly limits: DebugServerLimits;
  /** Told of every error behind a 500. */
  readonly onError: (error: unknown) => void;
}

/** The chat routes while the server runs. */
export interface ChatRoutes {
  /** Aborts every message being answered and resolves when the last one has ended. */
  stop(): Promise<void>;
}

/** Adds `POST /api/chat/group`, `/private` and `/reset`. */
export function addChatRoutes(app: DebugHono, options: ChatRoutesOptions): ChatRoutes {
  const { responder, limits, onError } = options;
  const stopping = sharedController();
  const running = new Set<Promise<unknown>>();
  let open = 0;

  const limitBody = bodyLimit({
    maxSize: limits.maxBodyBytes,
    onError: () => {
      throw new RequestError(
        413,
        "body-too-large",
        `The request is larger than ${limits.maxBodyBytes} bytes.`,
      );
    },
  });

  for (const kind of ["group", "private"] as const) {
    app.post(`/api/chat/${kind}`, refuseWhenBusy, limitBody, async (context) => {
      const turn = parseChatRequest(kind, await readJson(context), limits);
      if (turn === undefined) return context.json(toReplyBody(kind, false, ""));
      const request = startDeadline(undefined, context.req.raw.signal, stopping.signal);
      const wantsStream = context.req.header("accept")?.includes("text/event-stream") === true;
      return wantsStream ? streamAnswer(turn, request) : answer(context, turn, request);
    });
  }

  app.post("/api/chat/reset", limitBody, async (context) => {
    responder.reset(parseResetRequest(await readJson(context)));
    return context.json({ status: "success" });
  });

  async function answer(context: ChatContext, turn: Turn, request: Deadline): Promise<Response> {
    try {
      const reply = await track(responder.respond(turn, { signal: request.signal }));
      return context.json(toReplyBody(turn.chat.kind, true, reply.text));
    } catch (error) {
      throw asRefusal(error, request);
    } finally {
      request.end();
    }
  }

  function streamAnswer(turn: Turn, request: Deadline): Response {
    return streamReply(
      async (send) => {
        try {
          const { text, result } = await track(
            responder.respond(turn, {
              signal: request.signal,
              onPart: (part) => send(part.type, part),
            }),
          );
          const { finishReason, usage, timings, cache } = result;
          send("finish", { type: "finish", finishReason, usage, timings, cache });
          send("reply", toReplyBody(turn.chat.kind, true, text));
        } catch (error) {
          const refusal = asRefusal(error, request);
          if (refusal.status === 500) onError(refusal.cause);
          send("error", toErrorBody(refusal));
        } finally {
          request.end();
        }
      },
      (reason) => request.abort(reason),
    );
  }

  /** Counts from the first byte of a body to the last of an answer: both take memory. */
  async function refuseWhenBusy(context: ChatContext, next: () => Promise<void>): Promise<void> {
    if (open >= limits.maxRequests) {
      throw new RequestError(
        503,
        "too-many-requests",
        `${open} messages are being answered and the limit is ${limits.maxRequests}.`,
        { "Retry-After": "5" },
      );
    }
    open++;
    context.env.outgoing.once("close", () => open--);
    await next();
  }

  /** Remembers work until it ends, so that `stop` can wait for it. */
  async function track<T>(work: Promise<T>): Promise<T> {
    running.add(work);
    try {
      return await work;
    } finally {
      running.delete(work);
    }
  }

  return {
    async stop() {
      stopping.abort(new RequestError(503, "shutting-down", "The bot is shutting down."));
      await Promise.allSettled(running);
    },
  };
}

/** The error behind an abort is ours when the server stops; when the client left, nobody reads it. */
function asRefusal(error: unknown, request: Deadline): RequestError {
  if (!request.signal.aborted) return toRequestError(error);
  const { reason } = request.signal;
  return reason instanceof RequestError ? reason : clientGone();
}

/** Nobody reads it, but it is no error of the bot's either. */
function clientGone(): RequestError {
  return new RequestError(503, "client-gone", "The client closed the connection.");
}

function toReplyBody(kind: ChatId["kind"], shouldReply: boolean, reply: string) {
  return kind === "group"
    ? { status: "success", should_reply: shouldReply, reply }
    : { status: "success", reply };
}

async function readJson(context: ChatContext): Promise<unknown> {
  const text = await context.req.text().catch((error: unknown) => {
    throw context.env.incoming.errored ? clientGone() : error;
  });
  try {
    return JSON.parse(text);
  } catch {
    // The parser's own message quotes what somebody wrote.
    throw new RequestError(400, "bad-json", "The body is not valid JSON.");
  }
}
