// The call of a tool that has to be made, as a grammar: its name is one that may be called, its arguments are what that
// tool takes. In: tools. Out: a rule for all that stands between <tool_call> and </tool_call>. It knows no tokens.

import { ResponseFormatError } from "../errors.ts";
import type { KnownTool } from "../text/tool-call-text.ts";
import type { ToolChoice } from "../vision-language-model.ts";
import { anyJson } from "./any-json.ts";
import type { Effort } from "./effort.ts";
import { anyOf, inOrder, type Rule } from "./grammar.ts";
import { jsonSchemaRule } from "./json-schema.ts";
import { oneText } from "./json-terminals.ts";
import { UnsupportedPatternError } from "./regex.ts";
import { isSchemaObject } from "./schema-keywords.ts";
import type { Steps } from "./steps.ts";
import { TooComplexError } from "./too-complex.ts";

/** The tools of which one has to be called; none: the model may answer instead. */
export function forcedTools(tools: readonly KnownTool[], choice: ToolChoice): readonly KnownTool[] {
  if (choice === "auto" || choice === "none") return [];
  return typeof choice === "object" ? tools.filter(({ name }) => name === choice.name) : tools;
}

/** As the chat template writes a call, so that the model is where it was taught to be. */
export function* callRule(tools: readonly KnownTool[], effort: Effort): Steps<Rule> {
  const calls: Rule[] = [];
  for (const { name, parameters } of tools) {
    const head = yield* oneText([`\n{"name": ${JSON.stringify(name)}, "arguments": `]);
    calls.push(inOrder(head, yield* argumentsRule(parameters, effort), yield* oneText(["}\n"])));
  }
  return anyOf(...calls);
}

/** Of a schema that cannot be kept, that they are JSON: whoever runs the tool checks its arguments anyway. */
function* argumentsRule(schema: unknown, effort: Effort): Steps<Rule> {
  if (isSchemaObject(schema) && schema.type === "object") {
    try {
      return yield* jsonSchemaRule(schema, effort);
    } catch (error) {
      const kept = error instanceof ResponseFormatError || error instanceof UnsupportedPatternError;
      if (!kept && !(error instanceof TooComplexError)) throw error;
    }
  }
  return (yield* anyJson()).object;
}
