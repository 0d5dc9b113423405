// The compiled command as a child process. In: arguments. Out: what it printed and how it ended.
// A fresh clone has no dist, so the tests compile into a directory of their own, inside the package.

import { type ChildProcess, execFileSync, spawn } from "node:child_process";
import { once } from "node:events";
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

/** A command that runs. */
export class Running {
  readonly process: ChildProcess;
  output = "";
  readonly #waiting = new Set<() => void>();
  readonly #closed: Promise<unknown>;

  constructor(directory: string, args: readonly string[], env: NodeJS.ProcessEnv = {}) {
    this.process = spawn(process.execPath, [join(directory, "cli.js"), ...args], {
      cwd: ROOT,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: ["ignore", "pipe", "pipe"],
    });
    this.#closed = once(this.process, "close");
    for (const stream of [this.process.stdout, this.process.stderr]) {
      stream?.setEncoding("utf8").on("data", (text: string) => {
        this.output += text;
        for (const look of this.#waiting) look();
      });
    }
  }

  /** Resolves when the output matches; rejects when the command ends without. */
  printed(pattern: RegExp): Promise<RegExpExecArray> {
    return new Promise((resolve, reject) => {
      const look = () => {
        const match = pattern.exec(this.output);
        if (!match) return;
        this.#waiting.delete(look);
        resolve(match);
      };
      this.#waiting.add(look);
      this.process.once("close", () => {
        look();
        reject(new Error(`It ended without printing ${pattern}:\n${this.output}`));
      });
      look();
    });
  }

  /** How it ended. */
  async ended(): Promise<{ code: number | null; signal: string | null; output: string }> {
    await this.#closed;
    const { exitCode: code, signalCode: signal } = this.process;
    return { code, signal, output: this.output };
  }
}
