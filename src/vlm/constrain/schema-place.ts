// What the readers of one kind of schema know of the whole: how an inner schema is read, and what is counted. Types only.

import type { Effort } from "./effort.ts";
import type { Rule } from "./grammar.ts";
import type { SchemaObject } from "./schema-keywords.ts";
import type { Steps } from "./steps.ts";

/** A schema inside of others. */
export interface SchemaPlace {
  readonly schema: SchemaObject;
  /** As errors name it. */
  readonly path: string;
  readonly whole: WholeSchema;
  /** Reads a schema inside of this one. @throws ResponseFormatError, UnsupportedPatternError, TooComplexError */
  readonly inner: (schema: unknown, name: string) => Steps<Rule>;
}

/** What all of one schema share. */
export interface WholeSchema {
  readonly effort: Effort;
  /** Strings of the same form are one rule. */
  readonly texts: Map<string, Rule>;
  /** The keyword by which first items are listed: drafts differ, and mean other things by the other one. */
  firstItems: "items" | "prefixItems" | undefined;
  /** Counts a key or a value. @throws ResponseFormatError where there is too much of them */
  readonly counted: (text: string, path: string) => string;
}
