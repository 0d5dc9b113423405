// A request of the seam in, the body of a chat completion out: pictures as data URIs, calls and results with ids.
// It knows nothing of answers, and looks at no more of a picture than what kind of file it is.

import type OpenAI from "openai";
import { ImageDecodeError } from "../errors.ts";
import { detectMediaType, READABLE_MEDIA_TYPES, withoutJunk } from "../image/media-type.ts";
import type {
  ChatMessage,
  ContentPart,
  GenerateRequest,
  ToolCall,
} from "../vision-language-model.ts";
import type { CompletionBody } from "./open-ai-client.ts";

type Message = OpenAI.ChatCompletionMessageParam;
type Part = OpenAI.ChatCompletionContentPartText | OpenAI.ChatCompletionContentPartImage;

export interface CompletionRequestOptions {
  readonly model: string;
  readonly thinking: boolean;
  readonly extraBody: Readonly<Record<string, unknown>>;
}

/** As of the models in this process. */
const DEFAULT_MAX_TOKENS = { instruct: 1024, thinking: 2048 };

/** Fields that vLLM, SGLang, LMDeploy and llama-server know beside OpenAI's own. */
interface EngineFields {
  readonly top_k?: number;
  readonly min_p?: number;
  readonly repetition_penalty?: number;
  readonly chat_template_kwargs?: Readonly<Record<string, unknown>>;
  /** A regular expression: vLLM's name, its former one, and SGLang's. */
  readonly structured_outputs?: { readonly regex: string };
  readonly guided_regex?: string;
  readonly regex?: string;
  readonly continue_final_message?: boolean;
  readonly add_generation_prompt?: boolean;
}

/** @throws {ImageDecodeError} for bytes that are no picture, saying which */
export function completionBody(
  request: GenerateRequest,
  { model, thinking, extraBody }: CompletionRequestOptions,
): CompletionBody {
  const { maxTokens = DEFAULT_MAX_TOKENS[thinking ? "thinking" : "instruct"] } = request;
  const body: CompletionBody & EngineFields = {
    model,
    messages: new MessageWriter().write(request.messages),
    stream: true,
    stream_options: { include_usage: true },
    max_tokens: maxTokens,
    ...given("temperature", request.temperature),
    ...given("top_p", request.topP),
    ...given("top_k", request.topK),
    ...given("min_p", request.minP),
    ...given("repetition_penalty", request.repetitionPenalty),
    ...given("presence_penalty", request.presencePenalty),
    ...given("frequency_penalty", request.frequencyPenalty),
    ...given("seed", request.seed),
    ...given("stop", request.stop === undefined ? undefined : [request.stop].flat()),
    ...(request.topLogprobs === undefined
      ? {}
      : { logprobs: true, top_logprobs: request.topLogprobs }),
    ...(request.continueAnswer
      ? { continue_final_message: true, add_generation_prompt: false }
      : {}),
    ...(request.maxReasoningTokens === 0
      ? { chat_template_kwargs: { enable_thinking: false } }
      : {}),
    ...toolFields(request),
    ...formFields(request.responseFormat),
  };
  return { ...body, ...extraBody };
}

/** How many pictures a request has. */
export function imageCount(messages: readonly ChatMessage[]): number {
  const parts = messages.flatMap(({ content }) => (typeof content === "string" ? [] : content));
  return parts.filter(({ type }) => type === "image").length;
}

/** Everything in a request that somebody wrote. */
export function textsOf({ messages, tools = [] }: GenerateRequest): string[] {
  const said = messages.flatMap((message) => [
    ...(typeof message.content === "string"
      ? [message.content]
      : message.content.flatMap((part) => (part.type === "text" ? [part.text] : []))),
    ...(message.role === "assistant" ? [message.reasoning ?? ""] : []),
  ]);
  return [...said, ...tools.map((tool) => JSON.stringify(tool))].filter((text) => text !== "");
}

class MessageWriter {
  readonly #messages: Message[] = [];
  #images = 0;
  #calls = 0;
  /** Calls that wait for their results, in order: the seam pairs them by order, this interface by id. */
  #waiting: string[] = [];
  /** Pictures in results: this interface takes them from users only, and behind all results of a turn. */
  #shown: Part[] = [];

  write(messages: readonly ChatMessage[]): Message[] {
    const lastQuestion = messages.findLastIndex(({ role }) => role === "user");
    for (const [index, message] of messages.entries()) {
      if (message.role !== "tool") this.#showPictures();
      this.#add(message, index > lastQuestion);
    }
    this.#showPictures();
    return this.#messages;
  }

  #add(message: ChatMessage, afterLastQuestion: boolean): void {
    switch (message.role) {
      case "system":
        this.#messages.push({ role: "system", content: message.content });
        return;
      case "user":
        this.#messages.push({ role: "user", content: this.#content(message.content) });
        return;
      case "assistant": {
        const calls = (message.toolCalls ?? []).map((call) => this.#call(call));
        if (calls.length > 0) this.#waiting = calls.map(({ id }) => id);
        // Thoughts of earlier turns are shown by no template; those of this turn, between calls, are.
        const reasoning = afterLastQuestion ? message.reasoning : undefined;
        const written = {
          role: "assistant" as const,
          content: message.content,
          ...given("reasoning_content", reasoning),
          ...given("tool_calls", calls.length === 0 ? undefined : calls),
        };
        this.#messages.push(written);
        return;
      }
      case "tool": {
        const id = this.#waiting.shift() ?? `call_${this.#calls++}`;
        const parts = this.#content(message.content);
        const text = typeof parts === "string" ? parts : parts.map(textOf).join("");
        this.#messages.push({ role: "tool", tool_call_id: id, content: text });
        if (typeof parts !== "string") {
          this.#shown.push(...parts.filter(({ type }) => type === "image_url"));
        }
        return;
      }
      default:
        message satisfies never;
    }
  }

  #showPictures(): void {
    if (this.#shown.length === 0) return;
    this.#messages.push({ role: "user", content: this.#shown });
    this.#shown = [];
  }

  #call({ name, arguments: input }: ToolCall): OpenAI.ChatCompletionMessageFunctionToolCall {
    const text = typeof input === "string" ? input : JSON.stringify(input);
    return {
      id: `call_${this.#calls++}`,
      type: "function",
      function: { name, arguments: text },
    };
  }

  #content(content: string | readonly ContentPart[]): string | Part[] {
    if (typeof content === "string") return content;
    return content.map((part) =>
      part.type === "text"
        ? { type: "text", text: part.text }
        : { type: "image_url", image_url: { url: this.#dataUri(part.data) } },
    );
  }

  #dataUri(data: Uint8Array): string {
    const imageIndex = this.#images++;
    const picture = withoutJunk(data);
    const mediaType = detectMediaType(picture);
    if (!READABLE_MEDIA_TYPES.some((readable) => readable === mediaType)) {
      throw new ImageDecodeError(
        "image-unsupported",
        `Expected a picture (jpeg, png, gif, webp, avif or bmp), got ${mediaType ?? "bytes of an unknown kind"}.`,
        { mediaType, imageIndex },
      );
    }
    const { buffer, byteOffset, byteLength } = picture;
    return `data:${mediaType};base64,${Buffer.from(buffer, byteOffset, byteLength).toString("base64")}`;
  }
}

function textOf(part: Part): string {
  return part.type === "text" ? part.text : "";
}

function toolFields({
  tools = [],
  toolChoice,
  parallelToolCalls,
}: GenerateRequest): Pick<CompletionBody, "tools" | "tool_choice" | "parallel_tool_calls"> {
  if (tools.length === 0) return {};
  return {
    tools: tools.map(toTool),
    ...given(
      "tool_choice",
      typeof toolChoice === "object"
        ? { type: "function" as const, function: { name: toolChoice.name } }
        : toolChoice,
    ),
    ...given("parallel_tool_calls", parallelToolCalls),
  };
}

/** Choices are an `enum` for every server that knows schemas; regular expressions have no common name. */
function formFields(
  format: GenerateRequest["responseFormat"],
): Pick<CompletionBody, "response_format"> & EngineFields {
  switch (format?.type) {
    case undefined:
      return {};
    case "json":
      return typeof format.schema === "object"
        ? { response_format: schemaFormat(format.schema) }
        : { response_format: { type: "json_object" } };
    case "choice":
      return { response_format: schemaFormat({ type: "string", enum: [...format.options] }) };
    case "regex": {
      const { pattern } = format;
      return { structured_outputs: { regex: pattern }, guided_regex: pattern, regex: pattern };
    }
  }
}

function schemaFormat(schema: Readonly<Record<string, unknown>>) {
  const named = { name: "answer", schema: { ...schema }, strict: true };
  return { type: "json_schema" as const, json_schema: named };
}

/** The seam takes the function alone too. */
function toTool(tool: Readonly<Record<string, unknown>>): OpenAI.ChatCompletionTool {
  const whole = "function" in tool ? tool : { type: "function", function: tool };
  return whole as unknown as OpenAI.ChatCompletionTool;
}

function given<K extends string, V>(name: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in K]: V });
}
