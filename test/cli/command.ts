// The compiled command as a child process. In: arguments. Out: what it printed and how it ended.
// A fresh clone has no dist, so the tests compile into a directory of their own, inside the package.

import { execFileSync } from "node:child_process";
import { mkdirSync, mkdtempSync, rmSync } from "node:fs";
import { createRequire } from "node:module";
import { dirname, join } from "node:path";
import { fileURLToPath } from "node:url";

export const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** Compiles the package and returns the directory; remove it with `removeBuild`. */
export function build(): string {
  const parent = join(ROOT, ".napcat-vlm");
  mkdirSync(parent, { recursive: true });
  const directory = mkdtempSync(join(parent, "test-build-"));
  const typescript = createRequire(import.meta.url).resolve("typescript/package.json");
  const compiler = join(dirname(typescript), "bin", "tsc");
  // Types are checked by `npm run typecheck`; here only the output counts.
  const options = ["-p", "tsconfig.build.json", "--noCheck", "--outDir", directory];
  execFileSync(process.execPath, [compiler, ...options], { cwd: ROOT });
  execFileSync(process.execPath, [join(ROOT, "scripts", "copy-assets.js"), directory]);
  return directory;
}

export function removeBuild(directory: string | undefined): void {
  if (directory !== undefined) rmSync(directory, { recursive: true, force: true });
}
