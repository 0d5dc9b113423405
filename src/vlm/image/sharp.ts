// sharp, loaded when the first picture or model asks for it: importing this package must work where sharp cannot. The
// only file that imports it.

import { readdir } from "node:fs/promises";
import { createRequire } from "node:module";
import { dirname, extname } from "node:path";
import { setImmediate } from "node:timers/promises";
import type Sharp from "sharp";
import { isObject } from "../json-object.ts";
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
    await loadPieces(createRequire(import.meta.url).resolve("sharp"));
    return createRequire(import.meta.url)("sharp");
  } catch (error) {
    throw nativeLibraryError({ part: "sharp", error });
  }
}

/** What takes longest of a dependency, to be loaded before the rest of it. */
const PARTS_OF_DEPENDENCIES = ["semver/functions/coerce", "semver/functions/satisfies"];

/** One file at a time, with the event loop in between: all of it at once would hold it up for 60 ms. */
async function loadPieces(main: string): Promise<void> {
  const requireOfSharp = createRequire(main);
  const tryPiece = (name: string): unknown => {
    try {
      return requireOfSharp(name);
    } catch {
      return undefined; // What is missing or elsewhere is sharp's to say.
    }
  };
  const manifest = tryPiece("../package.json");
  const dependencies = isObject(manifest) ? manifest.dependencies : undefined;
  const beside = await readdir(dirname(main)).catch(() => []);
  const files = beside.filter((file) => extname(file) === extname(main));
  for (const name of [
    ...PARTS_OF_DEPENDENCIES,
    ...Object.keys(dependencies ?? {}),
    ...files.map((file) => `./${file}`),
  ]) {
    tryPiece(name);
    await setImmediate();
  }
}
