// Messages that arrive over HTTP. In: the JSON of a group or private message. Out: the responder's reply, as JSON or
// streamed. It knows nothing of the model; pictures stay bytes.

import type { Deadline } from "../../abort.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { Turn } from "../chat/turn.ts";
import type { ShouldReply } from "../triggers/should-reply.ts";
import { parseChatRequest, parseResetRequest } from "./chat-request.ts";
import type { DebugServerLimits } from "./limits.ts";
import {
  asRefusal,
  type DebugContext,
  type DebugHono,
  type OpenRequests,
  readJson,
} from "./open-requests.ts";
import { streamReply } from "./reply-stream.ts";
import { toErrorBody } from "./request-error.ts";
import type { ChatResponder } from "./served-bot.ts";

export interface ChatRoutesOptions {
  readonly responder: ChatResponder;
  readonly limits: DebugServerLimits;
  readonly requests: OpenRequests;
  /** Decides about group messages that were not said to the bot. */
  readonly shouldReply: ShouldReply;
  /** Told of every error behind a 500, 502 or 504. */
  readonly onError: (error: unknown) => void;
}

/** Adds `POST /api/chat/group`, `/private` and `/reset`. */
export function addChatRoutes(app: DebugHono, options: ChatRoutesOptions): void {
  const { responder, limits, requests, shouldReply, onError } = options;

  for (const kind of ["group", "private"] as const) {
    app.post(`/api/chat/${kind}`, requests.refuseWhenBusy, requests.limitBody, async (context) => {
      const posted = parseChatRequest(kind, await readJson(context), limits);
      if (posted === undefined) return context.json(toReplyBody(kind, false, ""));
      const { turn, addressed } = posted;
      const wantsStream = context.req.header("accept")?.includes("text/event-stream") === true;
      if (!addressed && !(await shouldReply(turn))) {
        const silence = toReplyBody(kind, false, "");
        return wantsStream
          ? streamReply(
              async (send) => send("reply", silence),
              () => {},
            )
          : context.json(silence);
      }
      const request = requests.begin(context);
      return wantsStream ? streamAnswer(turn, request) : answer(context, turn, request);
    });
  }

  app.post("/api/chat/reset", requests.limitBody, async (context) => {
    responder.reset(parseResetRequest(await readJson(context)));
    return context.json({ status: "success" });
  });

  async function answer(context: DebugContext, turn: Turn, request: Deadline): Promise<Response> {
    try {
      const reply = await requests.track(responder.respond(turn, { signal: request.signal }));
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
          const { text, result } = await requests.track(
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
          if (refusal.cause !== undefined) onError(refusal.cause);
          send("error", toErrorBody(refusal));
        } finally {
          request.end();
        }
      },
      (reason) => request.abort(reason),
    );
  }
}

function toReplyBody(kind: ChatId["kind"], shouldReply: boolean, reply: string) {
  return kind === "group"
    ? { status: "success", should_reply: shouldReply, reply }
    : { status: "success", reply };
}
