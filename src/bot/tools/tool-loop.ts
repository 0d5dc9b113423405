// A question, answered in as many steps as tools take. In: a request, and who asks. Out: the parts of one answer: what the
// model says between calls and in the end, and one finish for all of it. It knows nothing of chats.

import type {
  ChatMessage,
  FinishPart,
  GenerateRequest,
  StreamPart,
  ToolCallPart,
  VisionLanguageModel,
} from "../../vlm/index.ts";
import { toolError } from "./tool-result.ts";
import { streamStep } from "./tool-step.ts";
import type { Toolbox, ToolCaller, ToolEvent, ToolTime } from "./toolbox.ts";
import { addFinish } from "./total-finish.ts";

export interface ToolLoopOptions {
  readonly model: VisionLanguageModel;
  readonly toolbox: Toolbox;
  readonly caller: ToolCaller;
  /** Told what the chat should hear of a call. */
  readonly onNote?: ((note: string) => void) | undefined;
  readonly onTool?: ((event: ToolEvent) => void) | undefined;
}

/** More calls at once are a model that has gone astray. */
const MAX_CALLS_AT_ONCE = 8;

/**
 * Streams an answer, running what the model calls for between its steps.
 *
 * @throws {unknown} what the model throws, and the signal's reason; what tools throw the model hears
 */
export async function* streamWithTools(
  request: GenerateRequest,
  options: ToolLoopOptions,
): AsyncGenerator<StreamPart> {
  const { model, toolbox, caller } = options;
  const tools = toolbox.offeredTo(caller);
  if (tools.length === 0) {
    yield* model.stream(request);
    return;
  }
  const { maxSteps, totalTimeoutMs } = toolbox.limits;
  const time = { leftMs: totalTimeoutMs };
  let messages = request.messages;
  let total: FinishPart | undefined;
  let hasSpoken = false;
  for (let step = 0; ; step++) {
    const mayCall = step < maxSteps && time.leftMs > 0;
    const said: Said = { text: "", reasoning: "", calls: [] };
    const asked = {
      ...request,
      messages,
      tools,
      ...(mayCall ? {} : { toolChoice: "none" as const }),
    };
    for await (const part of streamStep(model, asked, request.messages.length)) {
      if (part.type === "finish") {
        total = addFinish(total, part);
      } else if (part.type === "tool-call") {
        said.calls.push(part);
      } else {
        // What is said in one step and what is said in the next are two paragraphs.
        const begins = part.type === "text-delta" && said.text === "";
        if (begins && hasSpoken) yield { type: "text-delta", text: "\n\n" };
        if (part.type === "text-delta") said.text += part.text;
        else said.reasoning += part.text;
        yield part;
      }
    }
    if (total === undefined)
      throw new Error("The stream of the model ended without its finish part.");
    if (!mayCall || said.calls.length === 0) {
      yield total;
      return;
    }
    hasSpoken ||= said.text.trim() !== "";
    const results = await runCalls(said.calls, time, request.signal, options);
    messages = [...messages, spoken(said), ...results];
  }
}

/** A step as the model has to see it again. */
function spoken({ text, reasoning, calls }: Said): ChatMessage {
  return {
    role: "assistant",
    content: text,
    ...(reasoning === "" ? {} : { reasoning }),
    toolCalls: calls.map(({ name, arguments: input }) => ({ name, arguments: input })),
  };
}

interface Said {
  text: string;
  reasoning: string;
  readonly calls: ToolCallPart[];
}

async function runCalls(
  calls: readonly ToolCallPart[],
  time: ToolTime,
  signal: AbortSignal | undefined,
  { toolbox, caller, onNote, onTool }: ToolLoopOptions,
): Promise<ChatMessage[]> {
  const allowed = calls.slice(0, MAX_CALLS_AT_ONCE);
  for (const call of allowed) {
    const note = toolbox.noteOf(call, caller);
    if (note !== undefined) onNote?.(note);
  }
  const contents = await Promise.all(
    allowed.map((call) => toolbox.run(call, caller, time, signal, onTool)),
  );
  const refused = calls.slice(MAX_CALLS_AT_ONCE).map(() => toolError("Too many calls at once."));
  return [...contents, ...refused].map((content) => ({ role: "tool", content }));
}
