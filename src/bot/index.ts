// The public list of `napcat-vlm`: a bot that sees.

// Every day: a connection, and a bot on it.

export type { BotChanges } from "./bot-changes.ts";
export { type InstalledVlm, installVlm } from "./install-vlm.ts";
export type { ConnectNapCatOptions } from "./napcat/connect-options.ts";
export { type ConnectionState, connectNapCat, type NapCatConnection } from "./napcat/connection.ts";
export type { ErrorContext, ImageOptions, InstallVlmOptions, ReplyOptions } from "./options.ts";

// Defaults, to read or to start from.

export { DEFAULT_HISTORY } from "./chat/responder-options.ts";
export { DEFAULT_COMMANDS } from "./commands/command-options.ts";
export {
  DEFAULT_ACCESS,
  DEFAULT_BREAKER,
  DEFAULT_LIMITS,
  DEFAULT_LOOP_GUARD,
} from "./gates/gate-options.ts";
export { DEFAULT_LOGGER, type LogFacts, type Logger } from "./logger.ts";
export { DEFAULT_IMAGES, DEFAULT_MERGE, DEFAULT_PRIORITY, DEFAULT_REPLY } from "./options.ts";
export { DEFAULT_PHRASES, DEFAULT_SYSTEM_PROMPT, type Phrases } from "./reply/phrases.ts";
export { DEFAULT_TRIGGERS } from "./triggers/trigger-options.ts";

// Tools that the model may have done for it.

export { type BotTool, botTool, type ToolContext, type ToolPermission } from "./tools/bot-tool.ts";
export { type McpClient, type McpToolsOptions, mcpTools } from "./tools/mcp-tools.ts";
export { DEFAULT_TOOL_LIMITS, type ToolLimits } from "./tools/tool-options.ts";

// What outlives the process.

export { type ChatStore, type ChatStoreOptions, openChatStore } from "./store/chat-store.ts";

// What can go wrong.

export {
  type CancelReason,
  HookError,
  ImageFetchError,
  isVlmBotError,
  NapCatConnectionError,
  OneBotCallError,
  TurnCancelledError,
  VlmBotError,
} from "./errors.ts";

// Expert: the chat core without OneBot, the debug adapter, and what a bot needs of a connection.

export type { Reply, ReplyPart } from "./chat/answer-text.ts";
export { type ChatId, chatKey } from "./chat/chat-id.ts";
export type {
  ChatOverrides,
  ChatOverridesByChat,
  QueuePolicy,
} from "./chat/chat-settings.ts";
export type { HistoryLimits } from "./chat/conversations.ts";
export type { Isolation } from "./chat/history-key.ts";
export type { RespondOptions } from "./chat/respond-options.ts";
export { Responder } from "./chat/responder.ts";
export type { ResponderOptions } from "./chat/responder-options.ts";
export type { PendingTurn, Quote, Turn, TurnPart } from "./chat/turn.ts";
export type { Command, CommandContext } from "./commands/command.ts";
export type { CommandOptions } from "./commands/command-options.ts";
export {
  type DebugServer,
  type DebugServerOptions,
  startDebugServer,
} from "./debug-http/server.ts";
export type { AccessOptions } from "./gates/access.ts";
export type { BreakerOptions } from "./gates/breaker.ts";
export type { GateOptions } from "./gates/gate-options.ts";
export type { IdLists } from "./gates/id-lists.ts";
export type { LoopGuardOptions } from "./gates/loop-guard.ts";
export type { RateLimitOptions } from "./gates/rate-limits.ts";
export type { ImageReference, IncomingMessage, Segment } from "./napcat/events.ts";
export type { NapCatClient } from "./napcat/napcat-client.ts";
export type { LoginInfo } from "./napcat/session.ts";
export type { Hooks } from "./pipeline/hooks.ts";
export type { MergeOptions } from "./pipeline/merge.ts";
export type { Rank } from "./rank.ts";
export type { TriggerOptions } from "./triggers/trigger-options.ts";
export type { DecideOptions, GroupTrigger, Triggers } from "./triggers/triggers.ts";
