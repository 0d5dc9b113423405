// OpenAI's interface on the debug adapter: `POST /v1/chat/completions` and `GET /v1/models`.
// It knows the seam only: no chats, no histories. Pictures are bytes in the request; nothing is fetched.

import type { VisionLanguageModel } from "../../../vlm/index.ts";
import type { DebugServerLimits } from "../limits.ts";
import { asRefusal, type DebugHono, type OpenRequests, readJson } from "../open-requests.ts";
import { RequestError } from "../request-error.ts";
import { answerChoices, streamChoices } from "./choices.ts";
import { Completion } from "./completion-body.ts";
import { parseCompletionRequest } from "./completion-request.ts";
import { streamCompletion } from "./completion-stream.ts";

export interface OpenAiRoutesOptions {
  readonly model: VisionLanguageModel;
  readonly limits: DebugServerLimits;
  readonly requests: OpenRequests;
  /** Told of every error that its client did not cause. */
  readonly onError: (error: unknown) => void;
}

export function addOpenAiRoutes(app: DebugHono, options: OpenAiRoutesOptions): void {
  const { model, limits, requests, onError } = options;
  const served = () => ({
    id: model.info.name,
    object: "model",
    created: 0,
    owned_by: "napcat-vlm",
    // vLLM's name for it, which clients read.
    max_model_len: model.info.contextTokens,
  });

  app.get("/v1/models", (context) => context.json({ object: "list", data: [served()] }));

  app.get("/v1/models/:id{.+}", (context) => {
    const model = served();
    if (context.req.param("id") === model.id) return context.json(model);
    const message = "There is no model of that name here; `/v1/models` lists what there is.";
    throw new RequestError(404, "model_not_found", message, {}, { field: "model" });
  });

  app.post("/v1/chat/completions", requests.refuseWhenBusy, requests.limitBody, async (context) => {
    const asked = parseCompletionRequest(await readJson(context), limits);
    const { includeUsage, count } = asked;
    const completion = new Completion({ model: model.info, includeUsage });
    const request = requests.begin(context);
    const question = { ...asked.request, signal: request.signal };
    const choices = { model, question, count, id: completion.id };
    if (asked.stream) {
      const parts = streamChoices(choices);
      return streamCompletion({ parts, count, completion, request, requests, onError });
    }
    try {
      return context.json(completion.body(await requests.track(answerChoices(choices))));
    } catch (error) {
      throw asRefusal(error, request);
    } finally {
      request.end();
    }
  });
}
