// One pull of a model at a time, on all processes of this computer. In: a directory. Out: a lock, or a PullError. A process
// that was killed holds nothing: a lock lives as long as its counter moves, which no clock has to tell.

import { createHash, randomBytes } from "node:crypto";
import { hostname } from "node:os";
import { join } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { disk } from "../../disk.ts";
import { codeOf, DiskError } from "../../disk-error.ts";
import { PullError } from "../errors.ts";

const LOCK_FILE = "pull.lock";
const BEAT_MS = 2_000;
/** A lock whose counter stands still for this long is nobody's. */
const DEAD_MS = 15_000;
const LOOK_MS = 250;

export interface PullLock {
  release(): Promise<void>;
}

/** Of this process. */
const held = new Set<string>();

/** @throws PullError `pull-running` while another process, or this one, pulls the same model */
export async function takeLock(dir: string, model: string, signal: AbortSignal): Promise<PullLock> {
  const path = join(dir, LOCK_FILE);
  if (held.has(path)) throw running(model);
  held.add(path);
  let beats = 0;
  const own = randomBytes(8).toString("hex");
  const line = () => `${process.pid} ${own} ${beats++} ${hostname()}\n`;
  const isOwn = async () => (await disk.readText(path).catch(() => "")).includes(own);
  const beat = async () => {
    // Held up for so long that somebody took it for dead, it is not ours any more.
    if (await isOwn()) await disk.replaceFile(path, line(), { durable: false });
  };
  try {
    while (!(await create(path, line()))) {
      const found = await look(path, signal);
      if (found === "held") throw running(model);
      if (found !== "gone" && (await inherit(path, found.dead, line, signal))) break;
    }
  } catch (error) {
    held.delete(path);
    throw error;
  }
  let last = Promise.resolve();
  const timer = setInterval(() => {
    last = beat().catch(() => {});
  }, BEAT_MS).unref();
  return {
    release: async () => {
      clearInterval(timer);
      await last;
      held.delete(path);
      if (await isOwn()) await disk.remove(path);
    },
  };
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await disk.open(path, "wx", { patienceMs: 0 });
    await disk.guard(path, () => file.writeFile(text)).finally(() => file.close());
    return true;
  } catch (error) {
    if (systemCode(error) === "EEXIST") return false;
    throw error;
  }
}

/**
 * Puts a lock in the place of one that was found dead. Many may find the same one, each at its own time: whoever makes the
 * file of its heir first is the one, and nobody else touches the lock. An heir that died meanwhile has an heir itself.
 *
 * @returns false where the lock is not as it was found any more, or has another heir who may still be about it
 */
async function inherit(
  path: string,
  dead: string,
  line: () => string,
  signal: AbortSignal,
): Promise<boolean> {
  const heirs = [heirOf(path, dead)];
  for (let heir = heirs[0]; heir !== undefined && !(await create(heir, line())); ) {
    const found = await look(heir, signal);
    if (found === "held" || found === "gone") return false;
    heir = heirOf(path, found.dead);
    heirs.push(heir);
  }
  let done = false;
  try {
    if ((await read(path)) !== dead) return false;
    await disk.replaceFile(path, line(), { durable: false });
    done = true;
    return true;
  } finally {
    // From the last to the first: as long as one stands before it, none is made a second time.
    for (const heir of done ? heirs.toReversed() : heirs.slice(-1)) await disk.remove(heir);
  }
}

/** A name that only this text has: nobody is the heir of two. */
function heirOf(path: string, text: string): string {
  return `${path}.${createHash("sha256").update(text).digest("hex").slice(0, 16)}`;
}

/**
 * Does somebody hold this lock? A number of a process that has ended is dead at once; for all others the counter decides.
 * What stands in one that nobody holds is told: it is never written again.
 */
async function look(
  path: string,
  signal: AbortSignal,
): Promise<"gone" | "held" | { readonly dead: string }> {
  const first = await read(path);
  if (first === undefined) return "gone";
  const [, pid = "", host] = /^(\d+) \w+ \d+ (.*)\n$/.exec(first) ?? [];
  const isOurs = host === hostname();
  if (isOurs && (Number(pid) === process.pid || !isRunning(Number(pid)))) return { dead: first };
  for (let waited = 0; waited < DEAD_MS; waited += LOOK_MS) {
    await pause(LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    const now = await read(path);
    if (now === undefined) return "gone";
    if (now !== first) return "held";
  }
  return { dead: first };
}

/** `undefined` where there is none. One that cannot be read is an error: waiting would not make it readable. */
async function read(path: string): Promise<string | undefined> {
  try {
    return await disk.readText(path);
  } catch (error) {
    if (systemCode(error) === "ENOENT") return undefined;
    throw error;
  }
}

function systemCode(error: unknown): string | undefined {
  return error instanceof DiskError ? codeOf(error.cause) : codeOf(error);
}

function isRunning(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return codeOf(error) === "EPERM";
  }
}

function running(model: string): PullError {
  return new PullError(
    "pull-running",
    `${model} is being pulled by another process already. Wait for it, or end it and give the command again.`,
  );
}
