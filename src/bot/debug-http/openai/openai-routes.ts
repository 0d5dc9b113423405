// OpenAI's interface on the debug adapter: `POST /v1/chat/completions` and `GET /v1/models`.
// It knows the seam only: no chats, no histories. Pictures are bytes in the request; nothing is fetched.

import type { VisionLanguageModel } from "../../../vlm/index.ts";
import type { DebugServerLimits } from "../limits.ts";
import { asRefusal, type DebugHono, type OpenRequests, readJson } from "../open-requests.ts";
import { streamEvents } from "../reply-stream.ts";
import { Completion } from "./completion-body.ts";
import { type CompletionRequest, parseCompletionRequest } from "./completion-request.ts";
import { toOpenAiError } from "./openai-error.ts";

export interface OpenAiRoutesOptions {
  readonly model: VisionLanguageModel;
  readonly limits: DebugServerLimits;
  readonly requests: OpenRequests;
  /** Told of every error behind a 500. */
  readonly onError: (error: unknown) => void;
}

export function addOpenAiRoutes(app: DebugHono, options: OpenAiRoutesOptions): void {
  const { model, limits, requests, onError } = options;

  app.get("/v1/models", (context) =>
    context.json({
      object: "list",
      data: [{ id: model.info.name, object: "model", created: 0, owned_by: "napcat-vlm" }],
    }),
  );

  app.post("/v1/chat/completions", requests.refuseWhenBusy, requests.limitBody, async (context) => {
    const asked = parseCompletionRequest(await readJson(context), limits);
    const request = requests.begin(context);
    if (asked.stream) return streamAnswer(asked, request);
    try {
      const answer = model.generate({ ...asked.request, signal: request.signal });
      return context.json(new Completion(model.info.name).body(await requests.track(answer)));
    } catch (error) {
      throw asRefusal(error, request);
    } finally {
      request.end();
    }
  });

  function streamAnswer(
    { request: question, includeUsage }: CompletionRequest,
    request: ReturnType<OpenRequests["begin"]>,
  ): Response {
    const completion = new Completion(model.info.name);
    return streamEvents(
      async (send) => {
        const sendAll = (chunks: readonly object[]) => {
          for (const chunk of chunks) send(JSON.stringify(chunk));
        };
        const work = async () => {
          sendAll([completion.start()]);
          for await (const part of model.stream({ ...question, signal: request.signal })) {
            sendAll(
              part.type === "finish"
                ? completion.finish(part, includeUsage)
                : completion.chunks(part),
            );
          }
          send("[DONE]");
        };
        try {
          await requests.track(work());
        } catch (error) {
          const refusal = asRefusal(error, request);
          if (refusal.status === 500) onError(refusal.cause);
          send(JSON.stringify(toOpenAiError(refusal)));
        } finally {
          request.end();
        }
      },
      (reason) => request.abort(reason),
    );
  }
}
