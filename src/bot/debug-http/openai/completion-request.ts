// A body of `POST /v1/chat/completions` in, a request of the seam out, or a refusal that names the field.
// As tolerant as the servers that clients are used to: unknown keys pass, `null` is as good as left out.

import { z } from "zod";
import type { ChatMessage, ContentPart, GenerateRequest, ToolChoice } from "../../../vlm/index.ts";
import type { DebugServerLimits } from "../limits.ts";
import { decodePicture } from "../picture-data.ts";
import { RequestError } from "../request-error.ts";
import { FORM_FIELDS, optional, toResponseFormat } from "./answer-form.ts";

export interface CompletionRequest {
  readonly request: Omit<GenerateRequest, "signal">;
  readonly stream: boolean;
  readonly includeUsage: boolean;
}

const TEXT_PART = z.looseObject({ type: z.literal("text"), text: z.string() });
const IMAGE_PART = z.looseObject({
  type: z.literal("image_url"),
  // Some clients send the bare string.
  image_url: z.union([z.string(), z.looseObject({ url: z.string() })]),
});
const PARTS = z.array(z.discriminatedUnion("type", [TEXT_PART, IMAGE_PART]));
const CONTENT = optional(z.union([z.string(), PARTS]));

const TOOL_CALL = z.looseObject({
  function: z.looseObject({
    name: z.string(),
    arguments: optional(z.union([z.string(), z.looseObject({})])),
  }),
});

const MESSAGE = z.discriminatedUnion("role", [
  z.looseObject({ role: z.enum(["system", "developer"]), content: CONTENT }),
  z.looseObject({ role: z.literal("user"), content: CONTENT }),
  z.looseObject({
    role: z.literal("assistant"),
    content: CONTENT,
    reasoning_content: optional(z.string()),
    tool_calls: optional(z.array(TOOL_CALL)),
  }),
  z.looseObject({ role: z.literal("tool"), content: CONTENT }),
]);

const BODY = z.looseObject({
  messages: z.array(MESSAGE).min(1),
  tools: optional(z.array(z.looseObject({ type: z.string() }))),
  tool_choice: optional(
    z.union([
      z.enum(["auto", "none", "required"]),
      z.looseObject({ function: z.looseObject({ name: z.string() }) }),
    ]),
  ),
  ...FORM_FIELDS,
  stop: optional(z.union([z.string(), z.array(z.string())])),
  max_tokens: optional(z.int().min(1)),
  max_completion_tokens: optional(z.int().min(1)),
  temperature: optional(z.number().min(0)),
  top_p: optional(z.number().min(0).max(1)),
  top_k: optional(z.int().min(-1)),
  min_p: optional(z.number().min(0).max(1)),
  presence_penalty: optional(z.number()),
  frequency_penalty: optional(z.number()),
  repetition_penalty: optional(z.number().gt(0)),
  seed: optional(z.int()),
  n: optional(z.int()),
  logprobs: optional(z.boolean()),
  top_logprobs: optional(z.int().min(0).max(20)),
  // vLLM's and SGLang's names.
  continue_final_message: optional(z.boolean()),
  chat_template_kwargs: optional(z.looseObject({ enable_thinking: optional(z.boolean()) })),
  stream: optional(z.boolean()),
  stream_options: optional(z.looseObject({ include_usage: optional(z.boolean()) })),
});

type Body = z.output<typeof BODY>;
type Message = Body["messages"][number];

/** @throws {RequestError} 400 or 413, with the name of the field and nothing of what stands in it. */
export function parseCompletionRequest(
  json: unknown,
  limits: DebugServerLimits,
): CompletionRequest {
  const parsed = BODY.safeParse(json);
  if (!parsed.success) throw badField(parsed.error.issues[0]);
  const body = parsed.data;
  if ((body.n ?? 1) !== 1) throw refuse("n", "only one choice is made");
  if (body.top_logprobs !== undefined && !body.logprobs) {
    throw refuse("top_logprobs", "it needs `logprobs` to be true");
  }
  const pictures = new Pictures(limits);
  const messages = body.messages.map((message, index) =>
    toMessage(message, `messages[${index}].content`, pictures),
  );
  const topP = body.top_p === 0 ? undefined : body.top_p;
  return {
    request: {
      messages,
      ...given("tools", body.tools?.length ? body.tools : undefined),
      ...given("toolChoice", body.tools?.length ? toToolChoice(body.tool_choice) : undefined),
      ...given("responseFormat", toResponseFormat(body)),
      ...given("maxTokens", body.max_completion_tokens ?? body.max_tokens),
      ...given("stop", toStop(body.stop)),
      ...given("topLogprobs", body.logprobs ? (body.top_logprobs ?? 0) : undefined),
      ...given("continueAnswer", body.continue_final_message || undefined),
      ...given(
        "maxReasoningTokens",
        body.chat_template_kwargs?.enable_thinking === false ? 0 : undefined,
      ),
      // Nothing but the likeliest token is what `top_p` 0 means.
      ...given("temperature", body.top_p === 0 ? 0 : body.temperature),
      ...given("topP", topP),
      ...given("topK", body.top_k === -1 ? 0 : body.top_k),
      ...given("minP", body.min_p),
      ...given("presencePenalty", body.presence_penalty),
      ...given("repetitionPenalty", body.repetition_penalty),
      ...given("seed", body.seed === undefined ? undefined : Math.abs(body.seed)),
    },
    stream: body.stream ?? false,
    includeUsage: body.stream_options?.include_usage ?? false,
  };
}

/** The pictures of one request, counted and measured. */
class Pictures {
  readonly #limits: DebugServerLimits;
  #count = 0;

  constructor(limits: DebugServerLimits) {
    this.#limits = limits;
  }

  read(url: string, field: string): Uint8Array {
    if (!/^data:/iu.test(url)) {
      throw refuse(
        field,
        "pictures are taken as data URIs (`data:image/png;base64,…`); addresses are not fetched",
      );
    }
    if (++this.#count > this.#limits.maxPictures) {
      const message = `There are more than ${this.#limits.maxPictures} pictures.`;
      throw new RequestError(413, "too-many-pictures", message);
    }
    return decodePicture(url, field, this.#limits.maxPictureBytes);
  }
}

function toMessage(message: Message, field: string, pictures: Pictures): ChatMessage {
  switch (message.role) {
    case "system":
    case "developer":
      return { role: "system", content: textOf(message.content) };
    case "user":
    case "tool":
      return { role: message.role, content: toContent(message.content, field, pictures) };
    case "assistant":
      return {
        role: "assistant",
        content: textOf(message.content),
        ...given("reasoning", message.reasoning_content),
        ...given(
          "toolCalls",
          message.tool_calls?.map((call) => ({
            name: call.function.name,
            arguments: call.function.arguments ?? {},
          })),
        ),
      };
  }
}

function toContent(
  content: Message["content"],
  field: string,
  pictures: Pictures,
): string | readonly ContentPart[] {
  if (content === undefined || typeof content === "string") return content ?? "";
  return content.map((part, index): ContentPart => {
    if (part.type === "text") return { type: "text", text: part.text };
    const url = typeof part.image_url === "string" ? part.image_url : part.image_url.url;
    return { type: "image", data: pictures.read(url, `${field}[${index}].image_url`) };
  });
}

function textOf(content: Message["content"]): string {
  if (content === undefined || typeof content === "string") return content ?? "";
  return content.map((part) => (part.type === "text" ? part.text : "")).join("");
}

function toToolChoice(choice: Body["tool_choice"]): ToolChoice | undefined {
  return typeof choice === "object" ? { name: choice.function.name } : choice;
}

/** An empty string never stops anything. */
function toStop(stop: Body["stop"]): readonly string[] | undefined {
  const strings = [stop ?? []].flat().filter((text) => text !== "");
  return strings.length === 0 ? undefined : strings;
}

function badField(issue: z.core.$ZodIssue | undefined): RequestError {
  const inner = issue?.code === "invalid_union" ? issue.errors.flat()[0] : undefined;
  const path = [...(issue?.path ?? []), ...(inner?.path ?? [])].map(String).join(".");
  return refuse(path || "body", "it is missing or not of the kind that this interface takes");
}

function refuse(field: string, why: string): RequestError {
  return new RequestError(400, "bad-field", `\`${field}\` cannot be taken: ${why}.`);
}

function given<K extends string, V>(name: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in K]: V });
}
