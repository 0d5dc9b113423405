// Is everything well with a bot? In: its model and its connection. Out: one word, and the reasons when it is not good.

import type { VisionLanguageModel } from "../../vlm/index.ts";
import type { ConnectionState } from "../napcat/connection.ts";

/** `degraded`: some of what it is for does not work now, and may again by itself. */
export interface Health {
  readonly status: "healthy" | "degraded" | "unhealthy";
  /** One word each, such as `napcat-offline`; empty when it is healthy. */
  readonly reasons: readonly string[];
}

export interface HealthFacts {
  readonly model: Pick<VisionLanguageModel, "disposed" | "health">;
  /** `undefined` for a client that does not tell. */
  readonly connection: ConnectionState | undefined;
  readonly closed: boolean;
  /** Chats to which messages keep failing. */
  readonly pausedChats: number;
}

export function healthOf({ model, connection, closed, pausedChats }: HealthFacts): Health {
  const down = [
    ...(model.disposed ? ["model-disposed"] : []),
    ...(closed || connection === "closed" ? ["closed"] : []),
  ];
  const hurt = [
    ...(model.health?.().state === "reloading" ? ["model-reloading"] : []),
    ...(connection === undefined || connection === "ready" || connection === "closed"
      ? []
      : [`napcat-${connection}`]),
    ...(pausedChats > 0 ? ["sends-fail"] : []),
  ];
  const status = down.length > 0 ? "unhealthy" : hurt.length > 0 ? "degraded" : "healthy";
  return { status, reasons: [...down, ...hurt] };
}
