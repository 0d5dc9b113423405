// sharp, loaded when the first picture or model asks for it: importing this package must work where sharp cannot. The
// only file that imports it.

import type Sharp from "sharp";
import { assertHost, nativeLibraryError } from "../native/native-library-error.ts";

let loading: Promise<typeof Sharp> | undefined;

/**
 * @throws NativeLibraryError that says why it cannot be loaded and what to do.
 *
 * @internal
 */
export function loadSharp(): Promise<typeof Sharp> {
  loading ??= load();
  return loading;
}

async function load(): Promise<typeof Sharp> {
  assertHost();
  try {
    return (await import("sharp")).default;
  } catch (error) {
    throw nativeLibraryError({ part: "sharp", error });
  }
}
