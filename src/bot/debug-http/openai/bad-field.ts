// A body that is not as this interface takes it. In: what the schema found, or a field and why. Out: a refusal that names the
// field, and repeats nothing of what stands in it.

import type { z } from "zod";
import { RequestError } from "../request-error.ts";

/** A field of OpenAI's interface that cannot be taken. @param why the end of a sentence, without its full stop */
export function refuseField(field: string, why: string): RequestError {
  const message = `\`${field}\` cannot be taken: ${why}.`;
  return new RequestError(400, "bad-field", message, {}, { field });
}

/** The refusal of a body, by the first thing that is wrong with it. */
export function badField(issue: z.core.$ZodIssue): RequestError {
  const { path, why } = innermost(issue, []);
  return refuseField(path.map(String).join(".") || "body", why);
}

/** Of several forms that a field may have, the one that was meant is where most of it fits. */
function innermost(
  issue: z.core.$ZodIssue,
  outer: readonly PropertyKey[],
): { readonly path: readonly PropertyKey[]; readonly why: string } {
  const path = [...outer, ...issue.path];
  if (issue.code !== "invalid_union") return { path, why: whyOf(issue) };
  const branches = issue.errors.flatMap((issues) => issues.slice(0, 1));
  const deepest = branches.toSorted((a, b) => depthOf(b) - depthOf(a))[0];
  // Where no form fits better than the others, none of them was meant.
  if (deepest === undefined || depthOf(deepest) === 0) {
    return { path, why: issue.message === UNSAID ? NO_KIND : issue.message };
  }
  return innermost(deepest, path);
}

/** What zod says of a choice that has no words of its own. */
const UNSAID = "Invalid input";
const NO_KIND = "it is of no kind that this interface takes";

function depthOf(issue: z.core.$ZodIssue): number {
  return issue.path.length;
}

/** In the words of the schema, which hold limits and names and nothing of the value. */
function whyOf(issue: z.core.$ZodIssue): string {
  switch (issue.code) {
    case "too_small":
      return `it has to be ${issue.inclusive === false ? "more than" : "at least"} ${issue.minimum}${unitOf(issue.origin)}`;
    case "too_big":
      return `it may be at most ${issue.maximum}${unitOf(issue.origin)}`;
    case "invalid_value":
      return `it has to be ${issue.values.map((value) => `\`${String(value)}\``).join(" or ")}`;
    case "invalid_type":
      return `it is missing or not ${ARTICLES[issue.expected] ?? `of type ${issue.expected}`}`;
    case "custom":
      return issue.message;
    default:
      return NO_KIND;
  }
}

const ARTICLES: Readonly<Record<string, string>> = {
  string: "a string",
  number: "a number",
  int: "a whole number",
  boolean: "true or false",
  array: "a list",
  object: "an object",
};

function unitOf(origin: string): string {
  return { string: " characters", array: " entries" }[origin] ?? "";
}
