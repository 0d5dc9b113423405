// What tells a package with LoRA adapters apart from others of the same checkpoint. In: directories of adapters, in the order
// of merging. Out: a part of a directory's name that follows from what the adapters hold, and whether a manifest is of
// the same ones. Reads samples of large files, not all of them.

import { createHash } from "node:crypto";
import { basename, join, resolve } from "node:path";
import { disk } from "../../disk.ts";
import { ADAPTER_CONFIG, ADAPTER_WEIGHTS } from "../checkpoint/adapters.ts";
import { fingerprintFile } from "./hashed-file.ts";
import type { PackageManifest } from "./manifest.ts";

const FILES = [ADAPTER_CONFIG, ADAPTER_WEIGHTS];

/** `-NAME-0123abcd`; nothing without adapters. One that lacks files is named all the same: whoever merges it says so. */
export async function adapterSuffix(adapters: readonly string[]): Promise<string> {
  if (adapters.length === 0) return "";
  const hash = createHash("sha256");
  for (const dir of adapters) {
    for (const print of await fingerprints(dir)) hash.update(print);
  }
  const names = adapters.map((dir) => basename(resolve(dir)).replace(/[^\w.-]/g, "_"));
  return `-${names.join("-").slice(0, 80)}-${hash.digest("hex").slice(0, 8)}`;
}

/** Were these adapters, as they are now, merged into the package, in this order, and no others? */
export async function hasAdapters(
  { adapters: merged }: Pick<PackageManifest, "adapters">,
  adapters: readonly string[],
): Promise<boolean> {
  if (merged.length !== adapters.length) return false;
  for (const [place, dir] of adapters.entries()) {
    const known = merged[place]?.inputs.map(({ fingerprint }) => fingerprint) ?? [];
    const now = await fingerprints(dir);
    if (known.length !== now.length || known.some((print) => !now.includes(print))) return false;
  }
  return true;
}

async function fingerprints(dir: string): Promise<string[]> {
  const paths = FILES.map((file) => join(dir, file));
  const there = await Promise.all(paths.map((path) => disk.fileSize(path)));
  const found = paths.filter((_, i) => there[i] !== undefined);
  return Promise.all(found.map((path) => fingerprintFile(path)));
}
