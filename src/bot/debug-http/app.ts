// The routes of the debug adapter behind their guards. In: a responder and who may ask. Out: a fetch function.
// It opens no socket.

import { type Context, Hono } from "hono";
import type { VisionLanguageModel } from "../../vlm/index.ts";
import type { Watched } from "../status/bot-status.ts";
import { addChatRoutes, type ChatRoutesOptions } from "./chat-routes.ts";
import { refuseForeignPages, requireToken } from "./guard.ts";
import { type DebugHono, OpenRequests, refusalOf } from "./open-requests.ts";
import { toOpenAiError } from "./openai/openai-error.ts";
import { addOpenAiRoutes } from "./openai/openai-routes.ts";
import type { PageFile } from "./page-files.ts";
import { RequestError, toErrorBody } from "./request-error.ts";
import type { DescribedModel } from "./served-bot.ts";
import { addStatusRoutes } from "./status-routes.ts";

export interface DebugAppOptions extends Omit<ChatRoutesOptions, "requests"> {
  readonly model: DescribedModel;
  readonly page: readonly PageFile[];
  readonly token: string | undefined;
  /** Refuse other names than localhost and pages of other origins. */
  readonly loopbackOnly: boolean;
  /** The bot that can be watched, if there is one. */
  readonly watched?: Watched | undefined;
}

const METHODS: Readonly<Record<string, string>> = {
  "/health": "GET, HEAD",
  "/api/info": "GET, HEAD",
  "/api/chat/group": "POST",
  "/api/chat/private": "POST",
  "/api/chat/reset": "POST",
  "/metrics": "GET, HEAD",
  "/api/status": "GET, HEAD",
  "/api/turns/:id/stop": "POST",
  "/v1/models": "GET, HEAD",
  "/v1/models/:id{.+}": "GET, HEAD",
  "/v1/chat/completions": "POST",
};

export function createDebugApp(options: DebugAppOptions): {
  readonly app: DebugHono;
  readonly requests: OpenRequests;
} {
  const { model, page, token, onError, limits } = options;
  const requests = new OpenRequests(limits);
  const app: DebugHono = new Hono();

  app.use(async function hardenHeaders(context, next) {
    await next();
    context.header("X-Content-Type-Options", "nosniff");
    context.header("Referrer-Policy", "no-referrer");
    context.header("Cross-Origin-Resource-Policy", "same-origin");
  });
  if (options.loopbackOnly) app.use(refuseForeignPages());
  if (token !== undefined) {
    // Scripts and styles of the page are public code; a browser asks for them without the token.
    app.use("/", requireToken(token, true));
    app.use("/health", requireToken(token, false));
    app.use("/api/*", requireToken(token, false));
    app.use("/v1/*", requireToken(token, false));
    app.use("/metrics", requireToken(token, false));
    app.use("/status", requireToken(token, true));
  }

  for (const file of page) {
    app.get(file.path, (context) => context.body(file.body, 200, { ...file.headers }));
  }
  app.get("/health", (context) => {
    const state = model.health?.();
    const reloading = state?.state === "reloading" ? state : undefined;
    const loaded = !model.disposed && !reloading;
    const health = {
      status: loaded ? "healthy" : "unhealthy",
      model_loaded: loaded,
      processor_loaded: loaded,
      device: model.info.device,
      ...(reloading ? { reason: reloading.reason } : {}),
    };
    return context.json(health, loaded ? 200 : 503);
  });
  app.get("/api/info", (context) => context.json({ status: "success", model: model.info }));
  addChatRoutes(app, { ...options, requests });
  addStatusRoutes(app, options.watched);
  if (answers(model)) addOpenAiRoutes(app, { model, limits, requests, onError });

  const allowed = {
    ...METHODS,
    ...Object.fromEntries(page.map(({ path }) => [path, "GET, HEAD"])),
  };
  for (const [path, methods] of Object.entries(allowed)) {
    app.all(path, () => {
      throw new RequestError(405, "method-not-allowed", `Use ${methods} here.`, { Allow: methods });
    });
  }
  const refuse = (refusal: RequestError, context: Context) => {
    const { status, body } = context.req.path.startsWith("/v1/")
      ? toOpenAiError(refusal)
      : { status: refusal.status, body: toErrorBody(refusal) };
    return context.json(body, status, { ...refusal.headers });
  };
  app.notFound((context) =>
    refuse(new RequestError(404, "not-found", nothingAt(context.req.path)), context),
  );
  app.onError((error, context) => {
    const refusal = refusalOf(error, context);
    if (refusal.cause !== undefined) onError(refusal.cause);
    return refuse(refusal, context);
  });
  return { app, requests };
}

/** Addresses of OpenAI's interface are typed by hand, with a part too few or too many. */
function nothingAt(path: string): string {
  const nothing = "There is nothing here.";
  return /\/(chat\/completions|completions|models|embeddings|responses)\/?$/u.test(path)
    ? `${nothing} Of OpenAI's interface there are \`/v1/chat/completions\` and \`/v1/models\`: a base URL ends in \`/v1\`.`
    : nothing;
}

/** A whole model, and not just what is told about one. */
function answers(model: DescribedModel): model is VisionLanguageModel {
  return typeof Reflect.get(model, "stream") === "function";
}
