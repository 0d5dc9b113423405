// A Node program as a child process: what it prints, and how it ends. In: a script and its arguments.

import { type ChildProcess, spawn, spawnSync } from "node:child_process";
import { once } from "node:events";
import { fileURLToPath } from "node:url";

const ROOT = fileURLToPath(new URL("../../", import.meta.url));

/** What it reads from and writes to. On a terminal, what is written to its `stdin` are keys. */
export type Place = "pipes" | "terminal";

/** Can the program of util-linux give others a terminal here? Not where the system has none to give. */
export function hasTerminals(): boolean {
  const { stdout } = spawnSync("script", ["--version"], { encoding: "utf8" });
  if (!/util-linux/.test(stdout ?? "")) return false;
  const { status } = spawnSync("script", ["-qec", "test -t 0", "/dev/null"], { stdio: "pipe" });
  return status === 0;
}

/** A Node program that runs. */
export class Running {
  readonly process: ChildProcess;
  output = "";
  readonly #waiting = new Set<() => void>();
  readonly #closed: Promise<unknown>;

  constructor(
    script: string,
    args: readonly string[] = [],
    env: NodeJS.ProcessEnv = {},
    place: Place = "pipes",
  ) {
    const words = [process.execPath, script, ...args];
    const isTerminal = place === "terminal";
    const line = words.map((word) => `'${word.replaceAll("'", "'\\''")}'`).join(" ");
    const [command = "", ...rest] = isTerminal
      ? ["script", "-qec", `exec ${line}`, "/dev/null"]
      : words;
    this.process = spawn(command, rest, {
      cwd: ROOT,
      env: { PATH: process.env.PATH, HOME: process.env.HOME, ...env },
      stdio: [isTerminal ? "pipe" : "ignore", "pipe", "pipe"],
    });
    this.#closed = once(this.process, "close");
    // Keys for somebody who has gone are no error.
    this.process.stdin?.on("error", () => {});
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
