// Thrown where a pattern or schema would need more time or memory than one answer may take.

import { ResponseFormatError } from "../errors.ts";

/** Caught where the form of an answer is known, and reported with it. */
export class TooComplexError extends Error {
  override readonly name = "TooComplexError";
}

export function tooComplex(error: TooComplexError): ResponseFormatError {
  return new ResponseFormatError(
    "response-format-too-complex",
    `The form of the answer is too complex: ${error.message}. Make it simpler or smaller.`,
    { cause: error },
  );
}
