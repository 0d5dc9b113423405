// The call of a tool as a grammar: its name is one that may be called, its arguments are what that tool takes. In: tools.
// Out: a rule for all that stands between <tool_call> and </tool_call>. It knows no tokens.

import { ResponseFormatError } from "../errors.ts";
import type { KnownTool } from "../text/tool-call-text.ts";
import type { ToolChoice } from "../vision-language-model.ts";
import { anyJson } from "./any-json.ts";
import type { Effort } from "./effort.ts";
import { anyOf, inOrder, type Rule } from "./grammar.ts";
import { jsonSchemaRule } from "./json-schema.ts";
import { oneText } from "./json-terminals.ts";
import { refusalOf } from "./refusal.ts";
import { isSchemaObject, type SchemaObject, schemaError } from "./schema-keywords.ts";
import type { Steps } from "./steps.ts";

/** The tools of which one has to be called; none: the model may answer instead. */
export function forcedTools(tools: readonly KnownTool[], choice: ToolChoice): readonly KnownTool[] {
  if (choice === "auto" || choice === "none") return [];
  return typeof choice === "object" ? tools.filter(({ name }) => name === choice.name) : tools;
}

/** As the chat template writes a call, so that the model is where it was taught to be. */
export function* callRule(tools: readonly KnownTool[], effort: Effort): Steps<Rule> {
  const calls: Rule[] = [];
  for (const tool of tools) {
    const head = yield* oneText([`\n{"name": ${JSON.stringify(tool.name)}, "arguments": `]);
    calls.push(inOrder(head, yield* argumentsRule(tool, effort), yield* oneText(["}\n"])));
  }
  return anyOf(...calls);
}

/**
 * Of a schema that cannot be kept, that they are JSON: whoever runs the tool checks its arguments anyway.
 *
 * @throws ResponseFormatError of a strict tool
 */
function* argumentsRule(tool: KnownTool, effort: Effort): Steps<Rule> {
  const { object } = yield* anyJson();
  try {
    const schema = objectSchema(tool.parameters);
    return schema === undefined ? object : yield* jsonSchemaRule(schema, effort);
  } catch (error) {
    const refusal = refusalOf(error);
    if (refusal === undefined) throw error;
    if (tool.strict) throw ofTool(tool.name, refusal);
    return object;
  }
}

/** Undefined where nothing is said of the arguments. @throws ResponseFormatError where they need not be an object */
function objectSchema(parameters: unknown): SchemaObject | undefined {
  if (parameters === undefined || parameters === null) return undefined;
  if (!isSchemaObject(parameters)) throw schemaError("schema", undefined, NO_OBJECT);
  if (parameters.type === "object") return parameters;
  const beside = Object.keys(parameters).find((keyword) => SAYS_OTHERWISE.has(keyword));
  if (beside !== undefined) throw schemaError("schema", beside, NO_OBJECT);
  return { ...parameters, type: "object" };
}

const NO_OBJECT = "arguments are an object, so its `type` has to be `object`";
/** Beside these a `type` cannot be added without saying something else. */
const SAYS_OTHERWISE = new Set(["type", "$ref", "enum", "const", "anyOf", "oneOf", "allOf"]);

function ofTool(name: string, { code, message, path, keyword }: ResponseFormatError) {
  const whole = `The arguments of the strict tool ${JSON.stringify(name)} cannot be kept. ${message}`;
  return new ResponseFormatError(code, whole, { path, keyword, tool: name });
}
