// What cannot be kept of a form, as whoever asked for it is told. In: what was thrown while it was made. Out: one error.

import { ResponseFormatError } from "../errors.ts";
import { UnsupportedPatternError } from "./regex.ts";
import { TooComplexError, tooComplex } from "./too-complex.ts";

/** Undefined: it is another kind of error. */
export function refusalOf(error: unknown): ResponseFormatError | undefined {
  if (error instanceof ResponseFormatError) return error;
  if (error instanceof TooComplexError) return tooComplex(error);
  if (!(error instanceof UnsupportedPatternError)) return undefined;
  return new ResponseFormatError(
    "response-format-unsupported",
    `The pattern cannot be kept: ${error.message}.`,
    { keyword: error.construct },
  );
}
