// The chat format of Qwen3-VL, Instruct and Thinking: where its marks, words and pictures go.
// In: chat messages. Out: chunks, in which a mark is never a string, so that no message can forge one.
// It knows no token ids and no size of any picture.

import type {
  AssistantMessage,
  ChatMessage,
  ContentPart,
  ToolCall,
} from "../vision-language-model.ts";
import { toPythonJson } from "./python-json.ts";

/** The marks of the chat format: tokens of their own, whatever people type. */
export type MarkName =
  | "<|im_start|>"
  | "<|im_end|>"
  | "<think>"
  | "</think>"
  | "<tool_call>"
  | "</tool_call>"
  | "<tool_response>"
  | "</tool_response>";

/** A mark of the chat format. */
export interface Mark {
  readonly mark: MarkName;
}

/** One whole picture: `<|vision_start|>`, its image tokens, `<|vision_end|>`. */
export interface Picture {
  /** Which picture of the request, counted from 0 over all messages. */
  readonly imageIndex: number;
}

/** A piece of a prompt; a string is words, be they of the template or of a person. */
export type Chunk = string | Mark | Picture;

/** A conversation in chunks. Preamble, turns and generation prompt each begin with a mark: no text runs across. */
export interface FormattedChat {
  /** The system prompt and the tools; empty if there are none. */
  readonly preamble: readonly Chunk[];
  /** One list per message, by its index; empty for one that is not rendered here. */
  readonly messages: readonly (readonly Chunk[])[];
  /** What asks the model to go on. */
  readonly generationPrompt: readonly Chunk[];
}

/** How a conversation is written. */
export interface ChatFormatOptions {
  /** Thinking checkpoints open the thought in the prompt and drop earlier thoughts. */
  readonly thinking: boolean;
  readonly tools?: readonly unknown[] | undefined;
  /** Write "Picture 1: " in front of pictures, counted over what is rendered. @default false */
  readonly addVisionIds?: boolean | undefined;
  /** Leave out the messages in front of this one; a system message at index 0 stays. @default 0 */
  readonly firstMessage?: number | undefined;
  /** The last message is the assistant's and not over: it is what the model goes on with. @default false */
  readonly continueAnswer?: boolean | undefined;
}

const IM_START: Mark = { mark: "<|im_start|>" };
const IM_END: Mark = { mark: "<|im_end|>" };
const THINK: Mark = { mark: "<think>" };
const THINK_END: Mark = { mark: "</think>" };
const TOOL_CALL: Mark = { mark: "<tool_call>" };
const TOOL_CALL_END: Mark = { mark: "</tool_call>" };
const TOOL_RESPONSE: Mark = { mark: "<tool_response>" };
const TOOL_RESPONSE_END: Mark = { mark: "</tool_response>" };

/** Writes a conversation in the chat format of Qwen3-VL. */
export function formatChat(
  messages: readonly ChatMessage[],
  options: ChatFormatOptions,
): FormattedChat {
  const { thinking, tools = [], addVisionIds = false, firstMessage = 0 } = options;
  const begun = options.continueAnswer ? messages.at(-1) : undefined;
  const content = contentFormat(countImages(messages.slice(0, firstMessage)), addVisionIds);
  // A user message is always a question here: results of tools have a role of their own.
  const lastQuestion = messages.findLastIndex((message) => message.role === "user");

  const format = (message: ChatMessage, index: number): Chunk[] => {
    switch (message.role) {
      case "system":
        // Index 0 is in the preamble. Anywhere else, the Instruct template passes it over without a word.
        if (index === 0 || !thinking) return [];
        return [IM_START, "system\n", message.content, IM_END, "\n"];
      case "user":
        return [IM_START, "user\n", ...content(message.content), IM_END, "\n"];
      case "assistant": {
        const isLast = index === messages.length - 1;
        const inToolLoop = lastQuestion !== -1 && index > lastQuestion;
        const answer = thinking
          ? thinkingAnswer(message, inToolLoop, isLast)
          : instructAnswer(message);
        return [IM_START, "assistant\n", ...answer, IM_END, "\n"];
      }
      case "tool": {
        // Results that follow each other share one user turn.
        const opening = messages[index - 1]?.role === "tool" ? [] : [IM_START, "user"];
        const closing = messages[index + 1]?.role === "tool" ? [] : [IM_END, "\n"];
        const result = ["\n", TOOL_RESPONSE, "\n", ...content(message.content), "\n"];
        return [...opening, ...result, TOOL_RESPONSE_END, ...closing];
      }
      default:
        message satisfies never;
        throw new TypeError("Expected `role` to be system, user, assistant or tool.");
    }
  };

  return {
    preamble: formatPreamble(messages[0], tools),
    messages: messages.map((message, index) =>
      index < firstMessage || message === begun ? [] : format(message, index),
    ),
    generationPrompt: [IM_START, "assistant\n", ...beginning(begun, thinking)],
  };
}

/** How many pictures the messages hold. */
export function countImages(messages: readonly ChatMessage[]): number {
  let count = 0;
  for (const { content } of messages) {
    if (typeof content === "string") continue;
    for (const part of content) if (part.type === "image") count++;
  }
  return count;
}

/** The conversation as the checkpoint's template would write it: one `<|image_pad|>` per picture. */
export function renderChat(chat: FormattedChat): string {
  return [...chat.preamble, ...chat.messages.flat(), ...chat.generationPrompt]
    .map((chunk) => {
      if (typeof chunk === "string") return chunk;
      return "mark" in chunk ? chunk.mark : "<|vision_start|><|image_pad|><|vision_end|>";
    })
    .join("");
}

/** Numbers pictures as it goes: `imageIndex` over the request, "Picture N" over what is rendered. */
function contentFormat(firstImage: number, addVisionIds: boolean) {
  let shown = 0;
  return (content: string | readonly ContentPart[]): Chunk[] => {
    if (typeof content === "string") return [content];
    return content.flatMap((part): Chunk[] => {
      if (part.type === "text") return [part.text];
      const picture: Picture = { imageIndex: firstImage + shown++ };
      return addVisionIds ? [`Picture ${shown}: `, picture] : [picture];
    });
  };
}

function formatPreamble(first: ChatMessage | undefined, tools: readonly unknown[]): Chunk[] {
  const system = first?.role === "system" ? first.content : undefined;
  if (tools.length === 0) {
    return system === undefined ? [] : [IM_START, "system\n", system, IM_END, "\n"];
  }
  return [
    IM_START,
    "system\n",
    system === undefined ? "" : `${system}\n\n`,
    "# Tools\n\nYou may call one or more functions to assist with the user query.\n\n",
    "You are provided with function signatures within <tools></tools> XML tags:\n<tools>",
    ...tools.map((tool) => `\n${toPythonJson(tool)}`),
    "\n</tools>\n\nFor each function call, return a json object with function name and arguments within ",
    TOOL_CALL,
    TOOL_CALL_END,
    " XML tags:\n",
    TOOL_CALL,
    '\n{"name": <function-name>, "arguments": <args-json-object>}\n',
    TOOL_CALL_END,
    IM_END,
    "\n",
  ];
}

/** What the answer begins with: a Thinking model has to close its thought before it can say anything. */
function beginning(begun: ChatMessage | undefined, thinking: boolean): Chunk[] {
  if (begun?.role === "assistant") {
    return thinking ? thinkingAnswer(begun, true, true) : instructAnswer(begun);
  }
  return thinking ? [THINK, "\n"] : [];
}

/** Instruct shows the thoughts of every turn that has any. */
function instructAnswer({ content, reasoning, toolCalls }: AssistantMessage): Chunk[] {
  const thought = reasoning ? [THINK, `\n${reasoning}\n`, THINK_END, "\n\n"] : [];
  const breakFirst = content !== "" || thought.length > 0;
  return [...thought, content, ...formatToolCalls(toolCalls, breakFirst)];
}

/** Thinking shows thoughts only after the last question: while the model works through its tools. */
function thinkingAnswer(
  { content, reasoning = "", toolCalls }: AssistantMessage,
  inToolLoop: boolean,
  isLast: boolean,
): Chunk[] {
  const calls = formatToolCalls(toolCalls, content !== "");
  if (!inToolLoop || !(isLast || reasoning)) return [content, ...calls];
  const thought = reasoning.replace(/^\n+|\n+$/g, "");
  return [THINK, `\n${thought}\n`, THINK_END, "\n\n", content.replace(/^\n+/, ""), ...calls];
}

function formatToolCalls(calls: readonly ToolCall[] = [], breakFirst: boolean): Chunk[] {
  return calls.flatMap((call, index): Chunk[] => {
    const text = typeof call.arguments === "string" ? call.arguments : toPythonJson(call.arguments);
    const body = `\n{"name": "${call.name}", "arguments": ${text}}\n`;
    return [breakFirst || index > 0 ? "\n" : "", TOOL_CALL, body, TOOL_CALL_END];
  });
}
