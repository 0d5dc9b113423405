// The messages of a request, checked at the door so that nothing behind it meets a surprise.
// In: whatever a caller passed. Out: the same, or an error that never shows what a message says.

import {
  expectList,
  expectObject,
  expectOneOf,
  expectString,
  unexpected,
  unexpectedKind,
} from "./expect.ts";
import type { AssistantMessage, ChatMessage } from "./vision-language-model.ts";

/** @throws {TypeError} naming the message and its part, what was expected and what kind of thing came */
export function expectMessages(messages: unknown): readonly ChatMessage[] {
  if (!Array.isArray(messages) || messages.length === 0) {
    throw new TypeError(unexpectedKind("messages", "an array of at least one message", messages));
  }
  for (const [index, message] of messages.entries()) expectMessage(`messages[${index}]`, message);
  const last: ChatMessage = messages[messages.length - 1];
  if (last.role !== "user" && last.role !== "tool") {
    throw new TypeError(
      unexpected("messages", "an array that ends with a user or tool message", last.role),
    );
  }
  return messages;
}

function expectMessage(name: string, message: ChatMessage): void {
  expectObject(name, "a message", message);
  expectOneOf(`${name}.role`, message.role, ["system", "user", "assistant", "tool"]);
  if (message.role === "assistant") expectAssistantParts(name, message);
  const { content } = message;
  if (typeof content === "string") return;
  if (message.role === "system" || message.role === "assistant" || !Array.isArray(content)) {
    const withParts = message.role === "user" || message.role === "tool";
    const expected = withParts ? "a string or an array of parts" : "a string";
    throw new TypeError(unexpectedKind(`${name}.content`, expected, content));
  }
  for (const [index, part] of content.entries()) {
    const where = `${name}.content[${index}]`;
    expectOneOf(`${where}.type`, part?.type, ["text", "image"]);
    if (part.type === "text" && typeof part.text !== "string") {
      throw new TypeError(unexpectedKind(`${where}.text`, "a string", part.text));
    }
    if (part.type === "image" && !(part.data instanceof Uint8Array)) {
      throw new TypeError(unexpectedKind(`${where}.data`, "a Uint8Array", part.data));
    }
  }
}

function expectAssistantParts(name: string, { reasoning = "", toolCalls = [] }: AssistantMessage) {
  if (typeof reasoning !== "string") {
    throw new TypeError(unexpectedKind(`${name}.reasoning`, "a string", reasoning));
  }
  for (const [index, call] of expectList(`${name}.toolCalls`, toolCalls).entries()) {
    const where = `${name}.toolCalls[${index}]`;
    expectObject(where, "a call of a tool", call);
    expectString(`${where}.name`, call.name);
    if (typeof call.arguments !== "string") {
      expectObject(`${where}.arguments`, "a string or an object", call.arguments);
    }
  }
}
