// Every keyword that JSON Schema has, read from its own meta-schemas: each is kept, is a remark, or is refused by its name.

import { readdirSync, readFileSync } from "node:fs";
import { createRequire } from "node:module";
import path from "node:path";
import { describe, expect, it } from "vitest";
import { jsonSchemaRule } from "../../../src/vlm/constrain/json-schema.ts";
import { REMARKS, SCHEMA_KEYWORDS } from "../../../src/vlm/constrain/schema-keywords.ts";
import { finish } from "../../../src/vlm/constrain/steps.ts";
import { ResponseFormatError } from "../../../src/vlm/errors.ts";

const refs = path.join(
  path.dirname(createRequire(import.meta.url).resolve("ajv/package.json")),
  "dist/refs",
);
const FILES = [
  "json-schema-draft-06.json",
  "json-schema-draft-07.json",
  ...["json-schema-2019-09", "json-schema-2020-12"].flatMap((directory) =>
    readdirSync(path.join(refs, directory, "meta")).map((file) =>
      path.join(directory, "meta", file),
    ),
  ),
];

function keywordsOf(file: string): string[] {
  const { properties } = JSON.parse(readFileSync(path.join(refs, file), "utf8")) as {
    properties: Record<string, unknown>;
  };
  return Object.keys(properties);
}

/** Kept with some values only; these are none of them. */
const UNKEPT: Readonly<Record<string, unknown>> = {
  uniqueItems: true,
  multipleOf: 0.3,
  format: "iri",
  $ref: "other.json#",
  additionalItems: {},
  pattern: 3,
  oneOf: [{}, {}],
  allOf: [{}, {}],
};

describe("the vocabularies of JSON Schema", () => {
  const all = new Set(FILES.flatMap(keywordsOf));

  it("are all there", () => {
    expect(FILES.length).toBeGreaterThan(12);
    for (const keyword of ["unevaluatedProperties", "prefixItems", "contains", "dependencies"]) {
      expect(all).toContain(keyword);
    }
  });

  it.each([...all])(
    "hold `%s`, which is kept, said to people, or refused by its name",
    (keyword) => {
      if (REMARKS.has(keyword)) return expect(SCHEMA_KEYWORDS).not.toContain(keyword);
      const value = SCHEMA_KEYWORDS.includes(keyword) ? UNKEPT[keyword] : {};
      if (value === undefined) return expect(SCHEMA_KEYWORDS).toContain(keyword);
      let refusal: unknown;
      try {
        finish(jsonSchemaRule({ [keyword]: value }));
      } catch (error) {
        refusal = error;
      }
      expect(refusal).toBeInstanceOf(ResponseFormatError);
      expect(refusal).toMatchObject({ code: "response-format-unsupported", keyword });
    },
  );
});
