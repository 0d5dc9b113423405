// The bot seen from outside: `GET /metrics`, `GET /api/status` and `POST /api/turns/ID/stop`. In: a watched bot.
// Out: plain data. It knows nothing of what is said in chats.

import type { Watched } from "../status/bot-status.ts";
import type { DebugHono } from "./open-requests.ts";
import { RequestError } from "./request-error.ts";

/** Adds the routes; without a bot there is nothing to see, and they say so. */
export function addStatusRoutes(app: DebugHono, watched: Watched | undefined): void {
  const bot = () => {
    if (watched !== undefined) return watched;
    throw new RequestError(404, "no-bot", "No bot is connected: there is only the model.");
  };

  app.get("/metrics", async (context) => {
    const { text, mediaType } = await bot().metrics();
    return context.body(text, 200, { "Content-Type": mediaType });
  });

  app.get("/api/status", async (context) =>
    context.json({ status: "success", bot: await bot().status() }),
  );

  app.post("/api/turns/:id/stop", (context) => {
    if (!bot().stopTurn(Number(context.req.param("id")))) {
      throw new RequestError(404, "no-such-turn", "This turn is over already.");
    }
    return context.json({ status: "success" });
  });
}
