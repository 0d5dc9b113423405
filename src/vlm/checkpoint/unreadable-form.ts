// The error for a quantised checkpoint of a method that is known in a form that is not. In: words. Out: an error that names
// the form, what can be read instead, and what to do.

import { ModelLoadError } from "../errors.ts";

/** @param what the setting and its value @param known values that can be read */
export function unreadable(method: string, what: string, known: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `This ${method} checkpoint has ${what}; what can be read is ${known}. Use the bf16 checkpoint, the converter quantises it.`,
  );
}
