// A prompt of the AI SDK in, the messages of the seam out, with a warning for everything that is left out.
// It knows nothing of models. Addresses are never fetched: the host decides what is.

import type {
  LanguageModelV3FilePart,
  LanguageModelV3Message,
  LanguageModelV3Prompt,
  LanguageModelV3ToolResultOutput,
  LanguageModelV3ToolResultPart,
  SharedV3Warning,
} from "@ai-sdk/provider";
import type { ChatMessage, ContentPart, ToolCall } from "../vlm/index.ts";

/** What the SDK is told about whatever could not be done. */
export type Warn = (warning: SharedV3Warning) => void;

/** @throws {TypeError} for a picture that is an address and not bytes. */
export function toMessages(prompt: LanguageModelV3Prompt, warn: Warn): ChatMessage[] {
  let called: readonly string[] = [];
  return prompt.flatMap((message) => {
    if (message.role === "assistant") called = callIds(message);
    return toMessage(message, called, warn);
  });
}

function callIds({ content }: Extract<LanguageModelV3Message, { role: "assistant" }>): string[] {
  return content.flatMap((part) => (part.type === "tool-call" ? [part.toolCallId] : []));
}

/** @param called ids of the calls that were made last */
function toMessage(
  message: LanguageModelV3Message,
  called: readonly string[],
  warn: Warn,
): ChatMessage[] {
  switch (message.role) {
    case "system":
      return [{ role: "system", content: message.content }];
    case "user":
      return [{ role: "user", content: message.content.flatMap((part) => userPart(part, warn)) }];
    case "assistant":
      return [assistantMessage(message, warn)];
    case "tool":
      // Each result is a message of its own; the chat format joins those of one turn.
      return inOrderOfCalls(
        message.content.filter((part) => part.type === "tool-result"),
        called,
      ).map((part) => toolMessage(part, warn));
  }
}

/** The SDK pairs results with calls by id, and writes them as they came in; the seam pairs them by order. */
function inOrderOfCalls(
  results: readonly LanguageModelV3ToolResultPart[],
  called: readonly string[],
): readonly LanguageModelV3ToolResultPart[] {
  const place = ({ toolCallId }: LanguageModelV3ToolResultPart) => called.indexOf(toolCallId);
  return results.toSorted((a, b) => place(a) - place(b));
}

function userPart(
  part: { readonly type: "text"; readonly text: string } | LanguageModelV3FilePart,
  warn: Warn,
): ContentPart[] {
  if (part.type === "text") return [{ type: "text", text: part.text }];
  return picture(part.mediaType, part.data, warn);
}

function assistantMessage(
  { content }: Extract<LanguageModelV3Message, { role: "assistant" }>,
  warn: Warn,
): ChatMessage {
  let text = "";
  let reasoning = "";
  const toolCalls: ToolCall[] = [];
  for (const part of content) {
    if (part.type === "text") text += part.text;
    else if (part.type === "reasoning") reasoning += part.text;
    else if (part.type === "tool-call") {
      toolCalls.push({ name: part.toolName, arguments: JSON.stringify(part.input ?? {}) });
    } else warn({ type: "unsupported", feature: `${part.type} in an assistant message` });
  }
  return {
    role: "assistant",
    content: text,
    ...(reasoning === "" ? {} : { reasoning }),
    ...(toolCalls.length === 0 ? {} : { toolCalls }),
  };
}

function toolMessage({ output }: LanguageModelV3ToolResultPart, warn: Warn): ChatMessage {
  return { role: "tool", content: toolContent(output, warn) };
}

function toolContent(
  output: LanguageModelV3ToolResultOutput,
  warn: Warn,
): string | readonly ContentPart[] {
  switch (output.type) {
    case "text":
    case "error-text":
      return output.value;
    case "json":
    case "error-json":
      return JSON.stringify(output.value);
    case "execution-denied":
      return output.reason ?? "The call was not allowed.";
    case "content":
      return output.value.flatMap((part): ContentPart[] => {
        if (part.type === "text") return [{ type: "text", text: part.text }];
        // Pictures come as `image-data` from ai 6 and as `file-data` from ai 7.
        if (part.type === "image-data" || part.type === "file-data") {
          return picture(part.mediaType, part.data, warn);
        }
        if (part.type === "image-url") return picture("image", part.url, warn);
        warn({ type: "unsupported", feature: `${part.type} in the result of a tool` });
        return [];
      });
  }
}

/** `image/*` and the like; the bytes decide what a picture is. */
function picture(mediaType: string, data: string | Uint8Array | URL, warn: Warn): ContentPart[] {
  if (!/^image(\/|$)/u.test(mediaType)) {
    warn({ type: "unsupported", feature: `files of type ${mediaType}` });
    return [];
  }
  return [{ type: "image", data: bytesOf(data) }];
}

function bytesOf(data: string | Uint8Array | URL): Uint8Array {
  if (data instanceof Uint8Array) return data;
  const text = String(data);
  const dataUrl = /^data:[^,]*;base64,(?<base64>.*)$/su.exec(text);
  if (dataUrl) return Buffer.from(dataUrl.groups?.base64 ?? "", "base64");
  if (data instanceof URL || /^[a-z][a-z\d+.-]*:/iu.test(text)) {
    throw new TypeError(
      "Expected a picture to be bytes, base64 or a data URL, got an address. This model fetches nothing: " +
        "download the picture and pass its bytes.",
    );
  }
  return Buffer.from(text, "base64");
}
