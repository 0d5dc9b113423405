// The messages of a body of `POST /v1/chat/completions` in, messages of the seam out, or a refusal that names the field.
// Pictures are bytes in the body; nothing is fetched. It knows nothing of settings or tools.

import { z } from "zod";
import type { ChatMessage, ContentPart, ToolCall } from "../../../vlm/index.ts";
import type { DebugServerLimits } from "../limits.ts";
import { decodePicture } from "../picture-data.ts";
import { RequestError } from "../request-error.ts";
import { refuseField } from "./bad-field.ts";
import { given, optional } from "./optional-field.ts";

const TEXT_PART = z.looseObject({ type: z.literal("text"), text: z.string() });
const IMAGE_PART = z.looseObject({
  type: z.literal("image_url"),
  // Some clients send the bare string.
  image_url: z.union([z.string(), z.looseObject({ url: z.string() })]),
});
const REFUSAL_PART = z.looseObject({ type: z.literal("refusal"), refusal: z.string() });

const NO_PART = "it is none of text and image_url: sound, files and videos are not taken";
const PART = z.discriminatedUnion("type", [TEXT_PART, IMAGE_PART, REFUSAL_PART], {
  error: NO_PART,
});
const CONTENT = optional(z.union([z.string(), z.array(PART)]));

const TOOL_CALL = z.looseObject({
  id: optional(z.string()),
  function: z.looseObject({
    name: z.string().min(1),
    arguments: optional(z.union([z.string(), z.looseObject({})])),
  }),
});

const RESULT = { content: CONTENT, tool_call_id: optional(z.string()) };

const MESSAGE = z.discriminatedUnion(
  "role",
  [
    z.looseObject({ role: z.enum(["system", "developer"]), content: CONTENT }),
    z.looseObject({ role: z.literal("user"), content: CONTENT }),
    z.looseObject({
      role: z.literal("assistant"),
      content: CONTENT,
      refusal: optional(z.string()),
      reasoning_content: optional(z.string()),
      reasoning: optional(z.string()),
      tool_calls: optional(z.array(TOOL_CALL)),
    }),
    z.looseObject({ role: z.literal("tool"), ...RESULT }),
    // The older name, which some clients still write.
    z.looseObject({ role: z.literal("function"), ...RESULT }),
  ],
  { error: "it is none of system, developer, user, assistant and tool" },
);

export const MESSAGES = z.array(MESSAGE).min(1);

type Message = z.output<typeof MESSAGE>;
type AssistantMessage = Extract<Message, { readonly role: "assistant" }>;
type ResultMessage = Extract<Message, { readonly role: "tool" | "function" }>;

/** @throws {RequestError} 400 or 413, with the name of the field and nothing of what stands in it */
export function toMessages(
  messages: readonly Message[],
  limits: DebugServerLimits,
): readonly ChatMessage[] {
  const reader = new MessageReader(limits);
  const read: ChatMessage[] = [];
  for (let index = 0; index < messages.length; index++) {
    const message = messages[index]!;
    if (isResult(message)) {
      read.push(reader.result(message, index));
      continue;
    }
    read.push(reader.message(message, index, index === messages.length - 1));
    if (message.role !== "assistant") continue;
    const results = resultsBehind(messages, index);
    for (const result of inOrderOfCalls(message, results)) {
      read.push(result ? reader.result(result.message, result.index) : NO_RESULT);
    }
    index += results.length;
  }
  return read;
}

/** A call that nobody answered, among others that somebody did. */
const NO_RESULT: ChatMessage = { role: "tool", content: "" };

interface Result {
  readonly message: ResultMessage;
  readonly index: number;
}

function isResult(message: Message): message is ResultMessage {
  return message.role === "tool" || message.role === "function";
}

function resultsBehind(messages: readonly Message[], call: number): readonly Result[] {
  const results: Result[] = [];
  for (let index = call + 1; index < messages.length; index++) {
    const message = messages[index]!;
    if (!isResult(message)) break;
    results.push({ message, index });
  }
  return results;
}

/** This interface pairs results with calls by id, the seam by order. Ids that say nothing leave the order as it is. */
function inOrderOfCalls(
  { tool_calls: calls = [] }: AssistantMessage,
  results: readonly Result[],
): readonly (Result | undefined)[] {
  const ids = calls.map(({ id }) => id);
  const known = results.every(({ message }) => ids.includes(message.tool_call_id));
  const distinct = new Set(results.map(({ message }) => message.tool_call_id)).size;
  if (results.length === 0 || !known || distinct < results.length) return results;
  return ids.map((id) => results.find(({ message }) => message.tool_call_id === id));
}

/** Reads messages one by one, and holds each to the limits. */
class MessageReader {
  readonly #limits: DebugServerLimits;

  constructor(limits: DebugServerLimits) {
    this.#limits = limits;
  }

  message(message: Exclude<Message, ResultMessage>, index: number, last: boolean): ChatMessage {
    const field = `messages.${index}.content`;
    switch (message.role) {
      case "system":
      case "developer": {
        const content = this.#text(message.content, field);
        // Somebody has to be answered: what stands last is asked, whoever said it.
        return { role: last ? "user" : "system", content };
      }
      case "user":
        return { role: "user", content: this.#content(message.content, field) };
      case "assistant":
        return {
          role: "assistant",
          content: this.#text(message.content, field) || (message.refusal ?? ""),
          ...given("reasoning", message.reasoning_content ?? message.reasoning),
          ...given("toolCalls", toolCallsOf(message)),
        };
    }
  }

  result({ content }: ResultMessage, index: number): ChatMessage {
    return { role: "tool", content: this.#content(content, `messages.${index}.content`) };
  }

  #content(content: Message["content"], field: string): string | readonly ContentPart[] {
    if (content === undefined || typeof content === "string") return this.#text(content, field);
    this.#text(content, field);
    const pictures = content.filter(({ type }) => type === "image_url").length;
    if (pictures > this.#limits.maxPictures) {
      const message = `\`${field}\` has ${pictures} pictures and at most ${this.#limits.maxPictures} are taken.`;
      throw new RequestError(413, "too-many-pictures", message, {}, { field });
    }
    return content.map((part, index): ContentPart => {
      if (part.type !== "image_url") return { type: "text", text: textOf(part) };
      const url = typeof part.image_url === "string" ? part.image_url : part.image_url.url;
      return { type: "image", data: this.#picture(url, `${field}.${index}.image_url`) };
    });
  }

  #text(content: Message["content"], field: string): string {
    const text = typeof content === "string" ? content : (content ?? []).map(textOf).join("");
    const { maxTextLength } = this.#limits;
    if (text.length > maxTextLength) {
      const message = `\`${field}\` has ${text.length} characters and at most ${maxTextLength} are taken.`;
      throw new RequestError(413, "text-too-long", message, {}, { field });
    }
    return text;
  }

  #picture(url: string, field: string): Uint8Array {
    const trimmed = url.trim();
    if (!/^data:/iu.test(trimmed)) {
      throw refuseField(
        field,
        "pictures are taken as data URIs (`data:image/png;base64,…`); addresses are not fetched",
      );
    }
    return decodePicture(trimmed, field, this.#limits.maxPictureBytes);
  }
}

function textOf(part: z.output<typeof PART>): string {
  if (part.type === "text") return part.text;
  return part.type === "refusal" ? part.refusal : "";
}

function toolCallsOf({ tool_calls: calls = [] }: AssistantMessage): ToolCall[] | undefined {
  if (calls.length === 0) return undefined;
  return calls.map(({ function: { name, arguments: input } }) => ({
    name,
    arguments: input ?? {},
  }));
}
