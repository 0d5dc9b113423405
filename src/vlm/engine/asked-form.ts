// What the answer of a request must look like: the answer itself, the call that has to be made, or the calls that may be.
// In: a request. Out: the forms that its answer is written in, or a refusal of what cannot be kept. It writes nothing.

import { forcedTools } from "../constrain/call-form.ts";
import type { Constraint } from "../constrain/constraint.ts";
import type { ResponseFormats } from "../constrain/response-format.ts";
import type { ResolvedRequest } from "../request-options.ts";
import type { CallForm } from "../text/held-calls.ts";
import type { Tokenizer } from "../text/tokenizer.ts";
import { type KnownTool, knownTools } from "../text/tool-call-text.ts";

export interface AskedForm {
  readonly constraint?: Constraint;
  readonly callConstraint?: Constraint;
  readonly callForm?: CallForm;
}

interface Forms {
  readonly formats: ResponseFormats;
  readonly tokenizer: Pick<Tokenizer, "findSpecial">;
}

/** @throws ResponseFormatError for a form, or the schema of a strict tool, that cannot be kept */
export async function askedForm(
  { formats, tokenizer }: Forms,
  request: Pick<ResolvedRequest, "responseFormat" | "tools" | "toolChoice">,
  signal: AbortSignal,
): Promise<AskedForm> {
  const { responseFormat, toolChoice } = request;
  const marked = ["<tool_call>", "</tool_call>"].every((mark) => tokenizer.findSpecial(mark));
  const tools = marked ? knownTools(request.tools) : [];
  const forced = forcedTools(tools, toolChoice);
  if (forced.length > 0) return { callConstraint: await formats.callConstraint(forced, signal) };
  return {
    ...(responseFormat ? { constraint: await formats.constraint(responseFormat, signal) } : {}),
    ...(tools.length > 0 ? { callForm: await callFormOf(formats, tools, signal) } : {}),
  };
}

/** What is refused of a strict tool is known at once; else the form is made while the prompt is read. */
async function callFormOf(
  formats: ResponseFormats,
  tools: readonly KnownTool[],
  signal: AbortSignal,
): Promise<CallForm> {
  const strict = tools.some((tool) => tool.strict);
  const begin = () => formats.callConstraint(tools, signal);
  const made = begin();
  if (strict) await made;
  // Whoever begins a call asks again, and hears why there is no form.
  else made.catch(() => {});
  return { begin, strict };
}
