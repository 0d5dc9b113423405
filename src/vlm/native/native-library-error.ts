// The error of a native library that cannot be loaded: its message is the diagnosis, in English; whoever speaks another
// language finds the diagnosis beside it.

import { ModelLoadError } from "../errors.ts";
import { type Diagnosis, diagnose, diagnoseHost, type NativeFailure } from "./diagnosis.ts";
import { readHost, readPlatform } from "./platform.ts";

/** A native library cannot be loaded; `diagnosis` says why. Its code is `session-failed`. */
export class NativeLibraryError extends ModelLoadError {
  readonly diagnosis: Diagnosis;

  constructor(diagnosis: Diagnosis, cause?: unknown) {
    super("session-failed", `${diagnosis.en.sentence} ${diagnosis.en.remedy}`, { cause });
    this.diagnosis = diagnosis;
  }
}

/** The error for what a loader said. */
export function nativeLibraryError(failure: Omit<NativeFailure, "facts">): NativeLibraryError {
  return new NativeLibraryError(diagnose({ ...failure, facts: readPlatform() }), failure.error);
}

/**
 * Refuses programs that cannot carry native libraries, before one of them ends the process.
 *
 * @throws NativeLibraryError on Bun, Deno and Electron.
 */
export function assertHost(): void {
  const diagnosis = diagnoseHost(readHost());
  if (diagnosis !== undefined) throw new NativeLibraryError(diagnosis);
}
