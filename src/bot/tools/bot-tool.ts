// Something a model may have done for it: the interface people write, and what a tool is told of who caused its call.
// Types, and the one function that infers them.

import type { ContentPart } from "../../vlm/index.ts";
import type { ChatId } from "../chat/chat-id.ts";
import type { Speaker } from "../chat/turn.ts";
import type { Rank } from "../rank.ts";

/** A schema of zod 4, or JSON schema itself. */
export type ToolSchema<Input> =
  | { readonly "~standard": { readonly types?: { readonly output: Input } | undefined } }
  | Readonly<Record<string, unknown>>;

/** Whose question caused a call. */
export interface ToolContext {
  readonly chat: ChatId;
  readonly sender: Speaker;
  readonly rank: Rank;
  /** Aborts when the turn ends or the tool takes too long. */
  readonly signal: AbortSignal;
}

/** Texts and pictures; a text or a picture alone; or any value, which becomes JSON. */
export type ToolOutput = string | Uint8Array | readonly ContentPart[] | unknown;

/** Who may cause calls: without any of these, whoever may talk to the bot. */
export interface ToolPermission {
  /** Only people of this rank, or of `people`. @default everybody, or with `people` nobody else */
  readonly needs?: Rank | undefined;
  /** QQ numbers of people who may in any case; `*` and `?` are wildcards. @default nobody */
  readonly people?: readonly string[] | undefined;
  /** Only in these groups; `*` and `?` are wildcards. @default everywhere */
  readonly groups?: readonly string[] | undefined;
}

export interface BotTool<Input = unknown> extends ToolPermission {
  /** What the model calls it: letters, digits, `_` and `-`. */
  readonly name: string;
  /** When to use it and what it does, for the model. */
  readonly description?: string | undefined;
  /** What it takes. @default an object without fields */
  readonly inputSchema?: ToolSchema<Input> | undefined;
  /** Said to the chat when it is called. @default nothing */
  readonly note?: string | undefined;
  /** Longest time of one call, in milliseconds. @default `toolLimits.timeoutMs` */
  readonly timeoutMs?: number | undefined;
  /** Does it. What it throws is told to the model as an error, in one short line. */
  execute(input: Input, context: ToolContext): ToolOutput | Promise<ToolOutput>;
}

/**
 * A tool whose `execute` has the types of its schema.
 *
 * @example
 * botTool({
 *   name: "weather",
 *   description: "Tells the weather of a city.",
 *   inputSchema: z.object({ city: z.string() }),
 *   execute: async ({ city }, { signal }) => weatherOf(city, signal),
 * });
 */
export function botTool<Input>(tool: BotTool<Input>): BotTool<Input> {
  return tool;
}
