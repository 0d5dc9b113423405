// An answer of a hub with JSON in it: types only.

import type { HttpAnswer } from "./http-client.ts";

export interface JsonAnswer {
  readonly status: number;
  readonly headers: HttpAnswer["headers"];
  /** undefined where a refusal has no JSON. */
  readonly json: unknown;
}
