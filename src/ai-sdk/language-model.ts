// A VisionLanguageModel as a `LanguageModelV3` of the AI SDK. In: calls of the SDK. Out: its results and streams.
// It knows the seam only; whatever answers behind it may be in this process or elsewhere.

import type {
  LanguageModelV3,
  LanguageModelV3CallOptions,
  LanguageModelV3Content,
  LanguageModelV3GenerateResult,
  LanguageModelV3StreamPart,
  LanguageModelV3StreamResult,
  SharedV3Warning,
} from "@ai-sdk/provider";
import type {
  GenerateRequest,
  ResponseFormat,
  ToolChoice,
  VisionLanguageModel,
} from "../vlm/index.ts";
import { toMessages, type Warn } from "./prompt.ts";
import { ownMetadata, ownSettings } from "./provider-options.ts";
import { finishReasonOf, newCallId, StreamParts, usageOf } from "./stream-parts.ts";

export interface Qwen3VlSettings {
  /** What the SDK and its telemetry call the model. @default the name in `model.info` */
  readonly modelId?: string;
}

/**
 * A model for `generateText`, `streamText` and the like. Disposing of the model stays with you.
 *
 * @example
 * const model = await loadQwen3Vl({ model: "./Qwen3-VL-2B-Instruct" });
 * const { text } = await generateText({ model: qwen3Vl(model), prompt: "你好" });
 */
export function qwen3Vl(
  model: VisionLanguageModel,
  settings: Qwen3VlSettings = {},
): LanguageModelV3 {
  return new VlmLanguageModel(model, settings.modelId ?? model.info.name);
}

class VlmLanguageModel implements LanguageModelV3 {
  readonly specificationVersion = "v3";
  readonly provider = "napcat-vlm";
  readonly modelId: string;
  /** None: the SDK downloads what its caller names, by its own rules, and hands over bytes. */
  readonly supportedUrls = {};
  readonly #model: VisionLanguageModel;

  constructor(model: VisionLanguageModel, modelId: string) {
    this.#model = model;
    this.modelId = modelId;
  }

  async doGenerate(options: LanguageModelV3CallOptions): Promise<LanguageModelV3GenerateResult> {
    const { request, warnings } = toRequest(options);
    const result = await this.#model.generate(request);
    const content: LanguageModelV3Content[] = [];
    if (result.reasoning !== "") content.push({ type: "reasoning", text: result.reasoning });
    if (result.text !== "") content.push({ type: "text", text: result.text });
    for (const { name, arguments: input } of result.toolCalls) {
      content.push({ type: "tool-call", toolCallId: newCallId(), toolName: name, input });
    }
    return {
      content,
      finishReason: finishReasonOf(result.finishReason),
      usage: usageOf(result),
      providerMetadata: ownMetadata(result),
      response: this.#responseMetadata(),
      warnings,
    };
  }

  async doStream(options: LanguageModelV3CallOptions): Promise<LanguageModelV3StreamResult> {
    const { request, warnings } = toRequest(options);
    const { includeRawChunks = false, abortSignal } = options;
    const parts = this.#model.stream(request)[Symbol.asyncIterator]();
    const translated = new StreamParts();
    const stream = new ReadableStream<LanguageModelV3StreamPart>({
      start: (controller) => {
        controller.enqueue({ type: "stream-start", warnings });
        controller.enqueue({ type: "response-metadata", ...this.#responseMetadata() });
      },
      // Every part of ours becomes at least one of theirs.
      async pull(controller) {
        const next = await parts.next().catch((error: unknown) => {
          // Whoever aborted hears their own reason; everybody else is told by a part, as by every provider.
          abortSignal?.throwIfAborted();
          for (const part of translated.fail(error)) controller.enqueue(part);
          return { done: true } as const;
        });
        if (next.done) return controller.close();
        if (includeRawChunks) controller.enqueue({ type: "raw", rawValue: next.value });
        for (const part of translated.push(next.value)) controller.enqueue(part);
      },
      // Leaving early ends the work behind it.
      cancel: async () => void (await parts.return?.()),
    });
    return { stream };
  }

  #responseMetadata() {
    return { id: crypto.randomUUID(), timestamp: new Date(), modelId: this.#model.info.name };
  }
}

function toRequest(options: LanguageModelV3CallOptions): {
  readonly request: GenerateRequest;
  readonly warnings: SharedV3Warning[];
} {
  const warnings: SharedV3Warning[] = [];
  const warn: Warn = (warning) => warnings.push(warning);
  const { toolChoice } = options;
  const request: GenerateRequest = {
    messages: toMessages(options.prompt, warn),
    ...given("tools", toTools(options, warn)),
    ...given("toolChoice", toolChoice && toToolChoice(toolChoice)),
    ...given("responseFormat", toResponseFormat(options)),
    ...given("maxTokens", options.maxOutputTokens),
    ...given("temperature", options.temperature),
    ...given("topP", options.topP),
    ...given("topK", options.topK),
    ...given("presencePenalty", options.presencePenalty),
    ...given("frequencyPenalty", options.frequencyPenalty),
    ...given("seed", options.seed),
    ...ownSettings(options, warn),
    // The very signal of the caller: its reason comes back as it is.
    ...given("signal", options.abortSignal),
    ...given("stop", options.stopSequences?.length ? options.stopSequences : undefined),
  };
  return { request, warnings };
}

/** The functions among the tools, as the chat template writes them. */
function toTools({ tools = [] }: LanguageModelV3CallOptions, warn: Warn): GenerateRequest["tools"] {
  const functions = tools.flatMap((tool) => {
    if (tool.type !== "function") {
      warn({ type: "unsupported", feature: `the provider's tool ${tool.id}` });
      return [];
    }
    const { name, description, inputSchema, inputExamples = [], strict } = tool;
    if (inputExamples.length > 0) warn({ type: "unsupported", feature: "inputExamples of tools" });
    const described = {
      name,
      ...given("description", description),
      parameters: inputSchema,
      ...given("strict", strict),
    };
    return [{ type: "function", function: described }];
  });
  return functions.length === 0 ? undefined : functions;
}

/** What of a schema cannot be kept is the model's to refuse. A call that has to be made has the form of its tool. */
function toResponseFormat({
  responseFormat,
  toolChoice,
}: LanguageModelV3CallOptions): ResponseFormat | undefined {
  if (responseFormat?.type !== "json") return undefined;
  if (toolChoice?.type === "required" || toolChoice?.type === "tool") return undefined;
  const { schema } = responseFormat;
  if (schema === undefined) return { type: "json" };
  return { type: "json", schema: typeof schema === "boolean" ? schema : { ...schema } };
}

function toToolChoice(choice: NonNullable<LanguageModelV3CallOptions["toolChoice"]>): ToolChoice {
  return choice.type === "tool" ? { name: choice.toolName } : choice.type;
}

/** An option, unless it was left out. */
function given<K extends string, V>(name: K, value: V | undefined): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in K]: V });
}
