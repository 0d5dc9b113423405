// A check in a process of its own. In: the name of a native check. Out: a check that runs it there and tells what came
// back, or how the process died. It knows nothing of what is checked.

import { type ChildProcess, fork } from "node:child_process";
import { extname } from "node:path";
import { fileURLToPath } from "node:url";
import { describeCrash } from "./crash.ts";
import type { Check, CheckContext, Finding } from "./finding.ts";
import { NATIVE_CHECKS, type NativeCheckName } from "./native-checks.ts";

/** Loading and a small run take seconds; a driver that hangs must not hang the report. */
const TIMEOUT_MS = 120_000;

/** Beside this file, compiled or not. */
const CHILD = fileURLToPath(
  new URL(`./isolated-child${extname(import.meta.url)}`, import.meta.url),
);

export interface IsolationOptions {
  /** @default 120000 */
  readonly timeoutMs?: number;
  /** The program of the process, for tests. */
  readonly child?: string;
}

export function isolated(name: NativeCheckName, options: IsolationOptions = {}): Check {
  const { timeoutMs = TIMEOUT_MS, child = CHILD } = options;
  return async (context) => {
    context.signal.throwIfAborted();
    const ended = await runChild(fork(child, [name], { stdio: STDIO }), context, timeoutMs);
    if (ended.findings) return ended.findings;
    return { verdict: "fail", what: NATIVE_CHECKS[name].what, ...describeCrash(ended) };
  };
}

/** Whatever a library prints is no part of the report; its last words may tell why it died. */
const STDIO = ["ignore", "ignore", "pipe", "ipc"] satisfies ("ignore" | "pipe" | "ipc")[];
const LAST_WORDS = 2_000;

/** How a process ended that was to check something. */
export interface Ended {
  readonly findings?: readonly Finding[];
  readonly code: number | null;
  readonly signal: NodeJS.Signals | null;
  readonly timedOut: boolean;
  readonly stderr: string;
}

function runChild(
  child: ChildProcess,
  { settings, signal }: CheckContext,
  timeoutMs: number,
): Promise<Ended> {
  return new Promise((resolve, reject) => {
    let findings: readonly Finding[] | undefined;
    let timedOut = false;
    let stderr = "";
    const timer = setTimeout(() => {
      timedOut = true;
      child.kill("SIGKILL");
    }, timeoutMs);
    const onAbort = () => child.kill("SIGKILL");
    signal.addEventListener("abort", onAbort, { once: true });
    const settle = () => {
      clearTimeout(timer);
      signal.removeEventListener("abort", onAbort);
    };
    child.stderr?.setEncoding("utf8").on("data", (text: string) => {
      stderr = (stderr + text).slice(-LAST_WORDS);
    });
    child.on("message", (message) => {
      findings = message as readonly Finding[];
    });
    child.on("error", (error) => {
      settle();
      reject(error);
    });
    child.on("close", (code, killedBy) => {
      settle();
      if (signal.aborted) reject(signal.reason);
      else resolve({ ...(findings && { findings }), code, signal: killedBy, timedOut, stderr });
    });
    // A process that died before it listened is told of by `close`.
    child.send(settings, () => {});
  });
}
