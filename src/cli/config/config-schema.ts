// What a file of settings may hold: one section for each function whose options it gives, and the short keys that are
// flags and variables too. Made from the schemas those functions check their options with: nothing is written twice.

import type { z } from "zod";
import type { DebugServerLimits } from "../../bot/debug-http/limits.ts";
import { DEBUG_SERVER_SCHEMA } from "../../bot/debug-http/server.ts";
import { CONNECT_SCHEMA, type ConnectNapCatOptions } from "../../bot/napcat/connect-options.ts";
import { INSTALL_SCHEMA, type InstallVlmOptions } from "../../bot/options.ts";
import { type ChatStoreOptions, STORE_SCHEMA } from "../../bot/store/chat-store.ts";
import { either, object, oneOf, shapeWithoutCode, text } from "../../parse-options.ts";
import { LOAD_SCHEMA, type LoadOptions } from "../../vlm/options.ts";
import { LOG_LEVELS, type LogLevel } from "../log.ts";
import { SHORT_KEYS } from "./short-keys.ts";

/** Options of the functions, as far as a file can give them. */
export interface FileSections {
  readonly napcat: Partial<Omit<ConnectNapCatOptions, "logger" | "signal">>;
  readonly vlm: Partial<Omit<LoadOptions, "signal" | "onProgress" | "onWarning">>;
  readonly bot: BotSection;
  readonly debugHttp: {
    readonly host?: string;
    readonly port?: number;
    readonly token?: string;
    readonly limits?: Partial<DebugServerLimits>;
  };
  readonly store: Partial<Omit<ChatStoreOptions, "logger">>;
  readonly log: { readonly level?: LogLevel };
}

/** What a file can say of a bot: all but functions, and but what the other sections make. */
export type BotSection = Omit<
  InstallVlmOptions,
  "model" | "store" | "hooks" | "onError" | "logger" | "signal"
>;

/** Everything may be left out: it may come from a flag or a variable, or have a default. */
function section(schema: z.ZodObject, changes: Readonly<Record<string, z.ZodType>> = {}) {
  const shape = { ...shapeWithoutCode(schema), ...changes };
  return object(
    Object.fromEntries(Object.entries(shape).map(([key, value]) => [key, value.optional()])),
  ).optional();
}

function botSection() {
  // Times for functions that a file cannot give.
  const { hooks: _, ...shape } = INSTALL_SCHEMA.shape;
  return section(object(shape));
}

const optionalShortKeys = Object.fromEntries(
  Object.entries(SHORT_KEYS).map(([key, schema]) => [key, schema.optional()]),
);

/** The whole file. */
export const CONFIG_SCHEMA = object({
  $schema: text().optional(),
  ...optionalShortKeys,
  napcat: either(
    [SHORT_KEYS.napcat, section(CONNECT_SCHEMA).unwrap()],
    "an address such as ws://127.0.0.1:3001, or an object with `url`",
  ).optional(),
  vlm: section(LOAD_SCHEMA),
  bot: botSection(),
  debugHttp: section(DEBUG_SERVER_SCHEMA, {
    host: SHORT_KEYS.host,
    token: SHORT_KEYS.debugToken,
  }),
  store: section(STORE_SCHEMA),
  log: object({ level: oneOf(LOG_LEVELS).optional() }).optional(),
});
