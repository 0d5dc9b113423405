// The tools of a bot. In: who asks, and a call that the model wrote. Out: what may be offered, and the result of the call.
// Whatever goes wrong in a tool is a result too. It knows no model.

import { isTimeoutError, startDeadline, untilAborted } from "../../abort.ts";
import type { ContentPart, ToolCallPart } from "../../vlm/index.ts";
import { AllowedIds } from "../gates/id-lists.ts";
import { reaches } from "../rank.ts";
import { redact } from "../redact.ts";
import type { BotTool, ToolContext, ToolPermission } from "./bot-tool.ts";
import { type ToolInput, toolInput } from "./tool-input.ts";
import type { ToolLimits } from "./tool-options.ts";
import { toolContent, toolError } from "./tool-result.ts";

/** Whose question it is; without a rank, anybody's. */
export type ToolCaller = Omit<ToolContext, "signal">;

/** How a call ended. */
export type ToolOutcome = "done" | "failed" | "timed-out" | "bad-input" | "unknown";

export interface ToolEvent {
  readonly tool: string;
  readonly outcome: ToolOutcome;
  readonly ms: number;
  /** What it threw. */
  readonly error?: unknown;
}

/** A tool as the model is shown it. */
export type ToolDescription = Readonly<Record<string, unknown>>;

interface ReadyTool {
  readonly tool: BotTool;
  readonly input: ToolInput;
  readonly mayCause: (caller: ToolCaller) => boolean;
}

/** What the tools of one turn have left of their time. */
export interface ToolTime {
  leftMs: number;
}

export class Toolbox {
  readonly limits: ToolLimits;
  readonly #tools: ReadonlyMap<string, ReadyTool>;

  constructor(tools: readonly BotTool[], limits: ToolLimits) {
    this.limits = limits;
    this.#tools = new Map(
      tools.map((tool) => [
        tool.name,
        { tool, input: toolInput(tool), mayCause: permissionOf(tool) },
      ]),
    );
  }

  /** What this person may cause: the model hears of nothing else. */
  offeredTo(caller: ToolCaller): readonly ToolDescription[] {
    return [...this.#tools.values()]
      .filter(({ mayCause }) => mayCause(caller))
      .map(({ tool: { name, description }, input: { parameters } }) => ({
        type: "function",
        function: { name, ...(description === undefined ? {} : { description }), parameters },
      }));
  }

  /** What the chat is told when this is called, if anything. */
  noteOf(call: ToolCallPart, caller: ToolCaller): string | undefined {
    return this.#find(call.name, caller)?.tool.note;
  }

  /**
   * Does what the model called for.
   *
   * @param time of the whole turn; what the call took is taken from it
   * @throws {unknown} `signal.reason` when aborted, and nothing else
   */
  async run(
    call: ToolCallPart,
    caller: ToolCaller,
    time: ToolTime,
    signal: AbortSignal | undefined,
    onEnd: (event: ToolEvent) => void = () => {},
  ): Promise<readonly ContentPart[]> {
    const startedAt = performance.now();
    const ended = (outcome: ToolOutcome, content: readonly ContentPart[], error?: unknown) => {
      const ms = performance.now() - startedAt;
      time.leftMs -= ms;
      onEnd({ tool: call.name, outcome, ms, error });
      return content;
    };
    const found = this.#find(call.name, caller);
    if (found === undefined) return ended("unknown", toolError("There is no such tool."));
    const { tool, input } = found;
    const value = call.invalid ? undefined : parsed(call.arguments);
    if (value === undefined) return ended("bad-input", toolError("The arguments are no JSON."));
    const timeoutMs = Math.min(tool.timeoutMs ?? this.limits.timeoutMs, Math.ceil(time.leftMs));
    if (timeoutMs <= 0) return ended("timed-out", toolError("There is no time left for tools."));
    const isAllThatIsLeft = timeoutMs >= time.leftMs;
    const deadline = startDeadline(timeoutMs, signal);
    try {
      const checked = await input.check(value);
      if ("mistake" in checked) return ended("bad-input", toolError(checked.mistake));
      const work = Promise.resolve(
        tool.execute(checked.value, { ...caller, signal: deadline.signal }),
      );
      const output = await untilAborted(work, deadline.signal);
      return ended("done", toolContent(output, this.limits.maxResultCharacters));
    } catch (error) {
      signal?.throwIfAborted();
      const late = deadline.signal.aborted && isTimeoutError(deadline.signal.reason);
      // Timers ring up to a millisecond early: what is left then is nothing.
      if (late && isAllThatIsLeft) time.leftMs = 0;
      if (late) return ended("timed-out", toolError("The tool took too long."));
      const words = error instanceof Error ? error.message : String(error);
      return ended("failed", toolError(redact(words) || "The tool failed."), error);
    } finally {
      deadline.end();
    }
  }

  /** One that this person may not cause is as good as none. */
  #find(name: string, caller: ToolCaller): ReadyTool | undefined {
    const ready = this.#tools.get(name);
    return ready?.mayCause(caller) ? ready : undefined;
  }
}

function permissionOf({ needs, people, groups }: ToolPermission): (caller: ToolCaller) => boolean {
  const named = new AllowedIds({ allow: people ?? [], deny: [] });
  const inside = groups && new AllowedIds({ allow: groups, deny: [] });
  return ({ chat, sender, rank }) => {
    if (inside && !(chat.kind === "group" && inside.has(chat.id))) return false;
    if (needs === undefined && people === undefined) return true;
    return named.has(sender.id) || (needs !== undefined && reaches(rank, needs));
  };
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    return undefined;
  }
}
