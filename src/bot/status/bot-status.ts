// A live look at a bot: connection, turns, numbers, errors and settings. In: its parts. Out: plain data for a page.
// It holds ids of chats, as a log does, and nothing that was said; settings come without secrets.

import type { VisionLanguageModel } from "../../vlm/index.ts";
import { chatKey } from "../chat/chat-id.ts";
import type { BotMetrics, Measured } from "../metrics/bot-metrics.ts";
import type { ConnectionState, NapCatConnection } from "../napcat/connection.ts";
import type { NapCatClient } from "../napcat/napcat-client.ts";
import type { RunningTurns, TurnStage } from "../pipeline/running-turns.ts";
import type { Health } from "./health.ts";
import type { RecentError, RecentErrors } from "./recent-errors.ts";
import { shownSettings } from "./shown-settings.ts";

export interface TurnStatus {
  readonly id: number;
  /** Such as `group:123`. */
  readonly chat: string;
  readonly trigger: string;
  readonly stage: TurnStage;
  readonly ageMs: number;
}

export interface BotStatus {
  readonly atMs: number;
  readonly health: Health;
  readonly connection: { readonly state: string; readonly account: string | undefined };
  readonly model: VisionLanguageModel["info"];
  readonly turns: readonly TurnStatus[];
  readonly numbers: readonly Measured[];
  /** Newest first. */
  readonly errors: readonly RecentError[];
  /** Effective options, without functions and secrets. */
  readonly settings: object;
}

/** What can be seen of a bot, and done about it. */
export interface Watched {
  status(): Promise<BotStatus>;
  /** Ends a turn as `/stop` does; false if there is none of this number. */
  stopTurn(id: number): boolean;
  metrics(): Promise<{ readonly text: string; readonly mediaType: string }>;
}

export interface WatchedParts {
  readonly napcat: NapCatClient;
  readonly model: VisionLanguageModel;
  readonly turns: RunningTurns;
  readonly metrics: BotMetrics;
  readonly errors: RecentErrors;
  readonly health: () => Health;
  readonly settings: object;
}

export function watch(parts: WatchedParts): Watched {
  const { napcat, model, turns, metrics, errors, health, settings } = parts;
  return {
    async status() {
      const now = Date.now();
      return {
        atMs: now,
        health: health(),
        connection: {
          state: connectionState(napcat) ?? "unknown",
          account: loginOf(napcat),
        },
        model: model.info,
        turns: turns.list().map(({ id, chat, trigger, stage, startedAtMs }) => ({
          id,
          chat: chatKey(chat),
          trigger,
          stage,
          ageMs: now - startedAtMs,
        })),
        numbers: await metrics.snapshot(),
        errors: errors.list,
        settings: shownSettings(settings),
      };
    },
    stopTurn: (id) => turns.cancel("stopped", (turn) => turn.id === id) > 0,
    metrics: () => metrics.prometheus(),
  };
}

/** What a connection of this package says of itself; others do not tell. */
export function connectionState(napcat: NapCatClient): ConnectionState | undefined {
  const { state } = napcat as Partial<NapCatConnection>;
  return typeof state === "string" ? state : undefined;
}

function loginOf(napcat: NapCatClient): string | undefined {
  return (napcat as Partial<NapCatConnection>).login?.selfId;
}
