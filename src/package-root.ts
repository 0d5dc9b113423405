// Where this package lies: the directory with its package.json, whether this file runs from src or from dist.

import { readFileSync } from "node:fs";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

const NAME = "napcat-vlm";

interface PackageFile {
  readonly root: string;
  readonly version: string;
}

function findPackage(): PackageFile {
  let root = dirname(fileURLToPath(import.meta.url));
  for (;;) {
    const found = readPackage(root);
    if (found) return found;
    const parent = dirname(root);
    if (parent === root) throw new Error(`The package.json of ${NAME} is missing.`);
    root = parent;
  }
}

function readPackage(root: string): PackageFile | undefined {
  try {
    const { name, version } = JSON.parse(readFileSync(join(root, "package.json"), "utf8"));
    return name === NAME ? { root, version } : undefined;
  } catch {
    return undefined;
  }
}

/** A path inside the package. */
export function packagePath(path: string): string {
  return join(findPackage().root, path);
}

export function packageVersion(): string {
  return findPackage().version;
}
