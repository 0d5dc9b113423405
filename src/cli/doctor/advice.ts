// What to do about an error, for the report: a diagnosis in both languages where there is one, else the error's own words.

import { NativeLibraryError } from "../../vlm/native/native-library-error.ts";
import { describeFailure } from "../errors.ts";
import type { Text } from "./finding.ts";

export function adviceFor(error: unknown): Text {
  if (!(error instanceof NativeLibraryError)) return describeFailure(error);
  const { en, zh } = error.diagnosis;
  return { en: `${en.sentence} ${en.remedy}`, zh: `${zh.sentence}${zh.remedy}` };
}
