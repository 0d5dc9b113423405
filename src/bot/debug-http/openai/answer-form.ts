// The form that a client wants an answer in: OpenAI's `response_format`, and the fields by which vLLM and SGLang ask for
// what it cannot say. In: parts of a body. Out: a form of the seam. Whether it can be kept is the model's to say.

import { z } from "zod";
import type { ResponseFormat } from "../../../vlm/index.ts";
import { optional } from "./optional-field.ts";

const SCHEMA = z.union([z.boolean(), z.looseObject({})]);
const PATTERN = z.string().min(1);
const OPTIONS = z.array(z.string().min(1)).min(1);

export const FORM_FIELDS = {
  response_format: optional(
    z.discriminatedUnion(
      "type",
      [
        z.looseObject({ type: z.literal("text") }),
        z.looseObject({ type: z.literal("json_object") }),
        z.looseObject({
          type: z.literal("json_schema"),
          json_schema: z.looseObject({ schema: optional(SCHEMA) }),
        }),
      ],
      { error: "it is none of text, json_object and json_schema" },
    ),
  ),
  structured_outputs: optional(
    z.looseObject({
      json: optional(SCHEMA),
      regex: optional(PATTERN),
      choice: optional(OPTIONS),
    }),
  ),
  guided_json: optional(SCHEMA),
  guided_regex: optional(PATTERN),
  guided_choice: optional(OPTIONS),
  regex: optional(PATTERN),
};

const BODY = z.object(FORM_FIELDS);

/** Undefined: any answer. */
export function toResponseFormat(body: z.output<typeof BODY>): ResponseFormat | undefined {
  const { response_format: asked, structured_outputs: engine } = body;
  if (asked?.type === "json_object") return { type: "json", schema: { type: "object" } };
  const pattern = engine?.regex ?? body.guided_regex ?? body.regex;
  if (pattern !== undefined) return { type: "regex", pattern };
  const options = engine?.choice ?? body.guided_choice;
  if (options !== undefined) return { type: "choice", options: [...new Set(options)] };
  const schema = asked?.type === "json_schema" ? asked.json_schema.schema : undefined;
  const wanted = schema ?? engine?.json ?? body.guided_json;
  if (wanted !== undefined) return { type: "json", schema: wanted };
  return asked?.type === "json_schema" ? { type: "json" } : undefined;
}
