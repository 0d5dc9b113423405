// sharp, loaded when the first picture or model asks for it: importing this package must work where sharp cannot. The
// only file that imports it.

import { createRequire } from "node:module";
import { setImmediate } from "node:timers/promises";
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
    await loadDependencies();
    return (await import("sharp")).default;
  } catch (error) {
    throw nativeLibraryError({ part: "sharp", error });
  }
}

/** One at a time, with the event loop in between: sharp and all of them together would hold it up for 50 ms. */
async function loadDependencies(): Promise<void> {
  try {
    const requireOfSharp = createRequire(createRequire(import.meta.url).resolve("sharp"));
    const { dependencies } = requireOfSharp("../package.json");
    for (const name of Object.keys(dependencies)) {
      requireOfSharp(name);
      await setImmediate();
    }
  } catch {
    // What is missing or elsewhere is sharp's to say.
  }
}
