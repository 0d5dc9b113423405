// The fields of OpenAI's interface as clients fill them in. In: a schema, or a value that may be missing. Out: the same, with
// `null` as good as left out. It knows no field by name.

import { z } from "zod";

/** `null` is as good as left out. */
export const optional = <T extends z.ZodType>(schema: T) =>
  schema.nullish().transform((value) => value ?? undefined);

/** True or false; settings files of some clients hold them as words. */
export const FLAG = z.union([
  z.boolean(),
  z.enum(["true", "false"]).transform((word) => word === "true"),
]);

/** A field of a request, unless it was left out. */
export function given<K extends string, V>(
  name: K,
  value: V | undefined,
): { readonly [key in K]?: V } {
  return value === undefined ? {} : ({ [name]: value } as { readonly [key in K]: V });
}
