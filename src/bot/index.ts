// The public list of `napcat-vlm`, by hand.

// Expert: the chat core without OneBot, and what a bot needs of a connection.
export { type ChatId, chatKey } from "./chat/chat-id.ts";
// Words and limits, to be replaced in part.
export type { HistoryLimits } from "./chat/conversation.ts";
export {
  type Reply,
  type ReplyPart,
  Responder,
  type ResponderOptions,
  type RespondOptions,
} from "./chat/responder.ts";
export { DEFAULT_HISTORY } from "./chat/responder-options.ts";
export type { GroupTrigger, Triggers } from "./chat/triggers.ts";
export type { PendingTurn, Quote, Turn, TurnPart } from "./chat/turn.ts";
// Errors.
export {
  ImageFetchError,
  isVlmBotError,
  NapCatConnectionError,
  OneBotCallError,
  VlmBotError,
} from "./errors.ts";
// Everyday: a bot in three lines.
export { type InstalledVlm, installVlm } from "./install-vlm.ts";
export { DEFAULT_LOGGER, type LogFacts, type Logger } from "./logger.ts";
export type { ConnectNapCatOptions } from "./napcat/connect-options.ts";
export { type ConnectionState, connectNapCat, type NapCatConnection } from "./napcat/connection.ts";
export type { ImageReference, IncomingMessage, Segment } from "./napcat/events.ts";
export type { NapCatClient } from "./napcat/napcat-client.ts";
export type { LoginInfo } from "./napcat/session.ts";
export type { ErrorContext, ImageOptions, InstallVlmOptions, ReplyOptions } from "./options.ts";
export { DEFAULT_IMAGES, DEFAULT_REPLY, DEFAULT_TRIGGERS } from "./options.ts";
export { DEFAULT_PHRASES, DEFAULT_SYSTEM_PROMPT, type Phrases } from "./reply/phrases.ts";
