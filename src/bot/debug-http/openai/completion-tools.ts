// The tools of a body of `POST /v1/chat/completions` in, those of the seam out, with who may and must be called.
// It knows nothing of messages.

import { z } from "zod";
import type { GenerateRequest } from "../../../vlm/index.ts";
import { refuseField } from "./bad-field.ts";
import { given, optional } from "./optional-field.ts";

const NAMED = z.looseObject({ name: z.string().min(1) });

const CHOICE = z.union(
  [
    z.enum(["auto", "none", "required"]),
    z.object({
      allowed_tools: z.object({
        mode: z.enum(["auto", "required"]),
        tools: z.array(z.object({ function: NAMED })),
      }),
    }),
    z.object({ function: NAMED }),
  ],
  { error: "it is none of auto, none and required, and names no tool" },
);

export const TOOL_FIELDS = {
  tools: optional(z.array(z.looseObject({ type: z.literal("function"), function: NAMED }))),
  tool_choice: optional(CHOICE),
  parallel_tool_calls: optional(z.boolean()),
};

const FIELDS = z.object(TOOL_FIELDS);

type Tools = Pick<GenerateRequest, "tools" | "toolChoice" | "parallelToolCalls">;

/** @throws {RequestError} 400 for the choice of a tool that is not there */
export function toTools(body: z.output<typeof FIELDS>): Tools {
  const chosen = toChoice(body);
  // A choice among nothing is none: clients send one with every request.
  if (!chosen.tools?.length) return {};
  return { ...chosen, ...given("parallelToolCalls", body.parallel_tool_calls) };
}

function toChoice({ tools = [], tool_choice: choice }: z.output<typeof FIELDS>): Tools {
  if (tools.length === 0) return {};
  if (typeof choice !== "object") return { tools, ...given("toolChoice", choice) };
  const names = tools.map(({ function: { name } }) => name);
  const known = (name: string, field: string) => {
    if (!names.includes(name)) throw refuseField(field, "there is no such tool among `tools`");
    return name;
  };
  if (!("allowed_tools" in choice)) {
    const { name } = choice.function;
    return { tools, toolChoice: { name: known(name, "tool_choice.function.name") } };
  }
  const { mode, tools: listed } = choice.allowed_tools;
  const allowed = new Set(
    listed.map(({ function: { name } }, index) =>
      known(name, `tool_choice.allowed_tools.tools.${index}.function.name`),
    ),
  );
  const left = tools.filter(({ function: { name } }) => allowed.has(name));
  return { tools: left, toolChoice: mode };
}
