// Runs a TypeScript file of the tests in a Node process of its own, for what would end the process of the tests.

import { spawn } from "node:child_process";
import { once } from "node:events";
import { mkdtemp, rm } from "node:fs/promises";
import { join } from "node:path";
import { text } from "node:stream/consumers";
import { fileURLToPath } from "node:url";
import { build } from "vite";

const CHILDREN = fileURLToPath(new URL("./children/", import.meta.url));
// Inside the repository, so that the bundle finds the packages it imports; ignored by git.
const BUNDLES = fileURLToPath(new URL("../../../node_modules/", import.meta.url));

export interface ChildResult {
  readonly exitCode: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly stdout: string;
  readonly stderr: string;
}

export interface Child {
  readonly run: (...args: string[]) => Promise<ChildResult>;
  readonly remove: () => Promise<void>;
}

/** Bundles `children/<name>.ts`, to be run as often as wanted. */
export async function bundleChild(name: string): Promise<Child> {
  const outDir = await mkdtemp(join(BUNDLES, ".napcat-vlm-child-"));
  await build({
    configFile: false,
    logLevel: "error",
    build: {
      ssr: join(CHILDREN, `${name}.ts`),
      outDir,
      target: "node20",
      rollupOptions: { output: { entryFileNames: "child.mjs" } },
    },
  });
  return {
    run: async (...args) => {
      const child = spawn(process.execPath, [join(outDir, "child.mjs"), ...args]);
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
