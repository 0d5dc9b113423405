// The schema of a tool, whichever library wrote it. In: that schema. Out: JSON schema for the model, and a check of what
// the model gives. It runs nothing.

import { z } from "zod";
import type { BotTool } from "./bot-tool.ts";

type Checked = { readonly value: unknown } | { readonly mistake: string };

export interface ToolInput {
  /** JSON schema. */
  readonly parameters: Readonly<Record<string, unknown>>;
  check(value: unknown): Checked | Promise<Checked>;
}

const NOTHING = { type: "object", properties: {}, additionalProperties: false };

/** What Standard Schema asks of every library. */
interface StandardSchema {
  readonly "~standard": {
    validate(value: unknown): StandardResult | Promise<StandardResult>;
  };
}

interface StandardResult {
  readonly value?: unknown;
  readonly issues?: readonly { readonly message: string; readonly path?: readonly unknown[] }[];
}

/** The options were checked: a schema of a library is one of zod. */
export function toolInput({ inputSchema }: BotTool): ToolInput {
  if (inputSchema === undefined) return fromJsonSchema(NOTHING);
  if (!("~standard" in inputSchema)) return fromJsonSchema(inputSchema);
  const { $schema: _, ...parameters } = z.toJSONSchema(inputSchema as unknown as z.ZodType, {
    io: "input",
    // A date, say: whatever the model writes there is checked in any case.
    unrepresentable: "any",
  });
  const schema = inputSchema as unknown as StandardSchema;
  return { parameters, check: (value) => checkWith(schema, value) };
}

function fromJsonSchema(parameters: Readonly<Record<string, unknown>>): ToolInput {
  const schema = readable(parameters);
  return {
    parameters,
    check: (value) => (schema === undefined ? { value } : checkWith(schema, value)),
  };
}

/** What zod cannot read of a JSON schema is for the tool to check. */
function readable(parameters: Readonly<Record<string, unknown>>): StandardSchema | undefined {
  try {
    return z.fromJSONSchema(parameters) as unknown as StandardSchema;
  } catch {
    return undefined;
  }
}

async function checkWith(schema: StandardSchema, value: unknown): Promise<Checked> {
  const { issues, value: read } = await schema["~standard"].validate(value);
  if (!issues) return { value: read };
  const mistakes = issues.slice(0, 5).map(({ message, path = [] }) => {
    const place = path
      .map((step) => (typeof step === "object" && step !== null ? Reflect.get(step, "key") : step))
      .map(String)
      .join(".");
    return place === "" ? message : `${place}: ${message}`;
  });
  return { mistake: mistakes.join("; ") };
}
