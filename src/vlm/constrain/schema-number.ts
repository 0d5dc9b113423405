// Numbers of a JSON schema as grammars. In: a schema. Out: a rule whose texts are numbers between its bounds.

import type { Rule } from "./grammar.ts";
import { formedNumber } from "./json-terminals.ts";
import { expectPossible, numberAt, schemaError } from "./schema-keywords.ts";
import type { SchemaPlace } from "./schema-place.ts";
import type { Steps } from "./steps.ts";

/** @throws ResponseFormatError */
export function* numberRule(
  type: "integer" | "number",
  { schema, path }: SchemaPlace,
): Steps<Rule> {
  const bound = (name: string, exclusive: boolean) => {
    const value = numberAt(schema, name, path);
    return value === undefined ? [] : [{ value, exclusive }];
  };
  const step = numberAt(schema, "multipleOf", path);
  if (step !== undefined && !(step === 1 && type === "integer")) {
    throw schemaError(path, "multipleOf", "it cannot be kept digit by digit");
  }
  const rule = yield* formedNumber({
    integer: type === "integer",
    from: [...bound("minimum", false), ...bound("exclusiveMinimum", true)],
    upTo: [...bound("maximum", false), ...bound("exclusiveMaximum", true)],
  });
  return expectPossible(rule, path, "no number lies between its bounds");
}
