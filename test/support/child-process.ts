// Bundles a TypeScript file into one that Node runs by itself, for what needs a process of its own.
// In: the file. Out: a script, with packages left to be imported and this package replaced by its source.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { build } from "vite";
import { packageAliases } from "../../package-aliases.ts";

// Inside the repository, so that the bundle finds the packages it imports; ignored by git.
const BUNDLES = fileURLToPath(new URL("../../node_modules/", import.meta.url));

export interface ChildResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Child {
  readonly script: string;
  readonly run: (...args: string[]) => Promise<ChildResult>;
  readonly remove: () => Promise<void>;
}

/** Bundles a file, to be run as often as wanted. */
export async function bundleChild(file: URL): Promise<Child> {
  const outDir = await mkdtemp(join(BUNDLES, ".napcat-vlm-child-"));
  await build({
    configFile: false,
    logLevel: "error",
    resolve: { alias: packageAliases },
    build: {
      ssr: fileURLToPath(file),
      outDir,
      // `await using` of the examples is newer than Node 20.
      target: "node20",
      rollupOptions: { output: { entryFileNames: "child.mjs" } },
    },
  });
  const script = join(outDir, "child.mjs");
  return {
    script,
    run: async (...args) => {
      const child = spawn(process.execPath, [script, ...args]);
      const [stdout, stderr, [exitCode, signal]] = await Promise.all([
        text(child.stdout),
        text(child.stderr),
        once(child, "exit"),
      ]);
      return { exitCode, signal, stdout, stderr };
    },
    remove: () => rm(outDir, { recursive: true }),
  };
}
