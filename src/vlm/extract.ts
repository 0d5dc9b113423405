// From pictures to data: a zod schema and a question in, a value of that schema's type out.
// It knows the seam only: whichever model answers keeps the form, and the schema's library has the last word.

import { ResponseFormatError } from "./errors.ts";
import type {
  GenerateRequest,
  ResponseFormat,
  VisionLanguageModel,
} from "./vision-language-model.ts";

/**
 * A schema of zod 4, or of any library that follows Standard Schema and says what it wants as JSON schema.
 * @see https://standardschema.dev
 */
export interface ValueSchema<T = unknown> {
  readonly "~standard": {
    readonly types?: { readonly input: unknown; readonly output: T } | undefined;
    readonly validate: (value: unknown) => SchemaVerdict<T> | Promise<SchemaVerdict<T>>;
    readonly jsonSchema: {
      readonly input: (options: { readonly target: "draft-2020-12" }) => Record<string, unknown>;
    };
  };
}

/** The value, or what is wrong with it. */
export type SchemaVerdict<T> =
  | { readonly value: T; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] };

export interface SchemaIssue {
  readonly message: string;
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined;
}

/** What a schema makes of a value. */
export type ValueOf<S extends ValueSchema> = NonNullable<S["~standard"]["types"]>["output"];

export interface ExtractRequest<S extends ValueSchema>
  extends Omit<GenerateRequest, "messages" | "responseFormat" | "tools" | "toolChoice" | "stop"> {
  /** What the value has to be. Its descriptions are shown to the model. */
  readonly schema: S;
  /** Bytes of picture files. */
  readonly images?: readonly Uint8Array[];
  /** What to look for. @default "Extract the data." */
  readonly prompt?: string;
}

/**
 * A value of a schema, read from pictures and words.
 *
 * @example
 * const Receipt = z.object({ shop: z.string(), total: z.number(), items: z.array(z.string()) });
 * const receipt = await extract(model, { schema: Receipt, images: [photo] });
 *
 * @throws {ResponseFormatError} `response-format-unsupported` for a schema that cannot be kept, `response-format-missed`
 *   when the answer was cut off or a refinement of the schema refuses it
 */
export async function extract<S extends ValueSchema>(
  model: VisionLanguageModel,
  { schema, images = [], prompt = "Extract the data.", ...request }: ExtractRequest<S>,
): Promise<ValueOf<S>> {
  const standard = schema["~standard"];
  const form = withoutNamesOfPatterns(standard.jsonSchema.input({ target: "draft-2020-12" }));
  const text = `${prompt}\nAnswer in JSON that satisfies this schema:\n${JSON.stringify(form)}`;
  const pictures = images.map((data) => ({ type: "image", data }) as const);
  const responseFormat: ResponseFormat = { type: "json", schema: form };
  const answer = await model.generate({
    temperature: 0,
    ...request,
    messages: [{ role: "user", content: [...pictures, { type: "text", text }] }],
    responseFormat,
  });
  if (answer.incomplete) throw missed("it was cut off; give it more maxTokens");
  const verdict = await standard.validate(parsed(answer.text));
  if (!verdict.issues) return verdict.value as ValueOf<S>;
  const path = verdict.issues[0]?.path?.map(nameOf).join(".");
  throw missed(`${path ? `\`${path}\`` : "it"} is not as the schema wants it`, path);
}

/** A library that spells a format out as a pattern checks the pattern: what the format is called says nothing more. */
function withoutNamesOfPatterns(schema: Record<string, unknown>): Record<string, unknown> {
  const text = JSON.stringify(schema, (_, value: unknown) => {
    if (!isObject(value) || typeof value.pattern !== "string") return value;
    const isName = ([name, what]: [string, unknown]) =>
      (name === "format" || name === "contentEncoding") && typeof what === "string";
    return Object.fromEntries(Object.entries(value).filter((entry) => !isName(entry)));
  });
  return JSON.parse(text) as Record<string, unknown>;
}

function isObject(value: unknown): value is Record<string, unknown> {
  return typeof value === "object" && value !== null;
}

function nameOf(part: PropertyKey | { readonly key: PropertyKey }): string {
  return String(typeof part === "object" ? part.key : part);
}

function parsed(text: string): unknown {
  try {
    return JSON.parse(text);
  } catch {
    throw missed("it is no JSON");
  }
}

function missed(why: string, path?: string): ResponseFormatError {
  return new ResponseFormatError("response-format-missed", `The answer has not its form: ${why}.`, {
    path,
  });
}
