// One pull of a model at a time, on all processes of this computer. In: a directory. Out: a lock, or a PullError. A process
// that was killed holds nothing: a lock lives as long as its counter moves, which no clock has to tell.

import { randomBytes } from "node:crypto";
import { link, rename } from "node:fs/promises";
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
  const beat = () => disk.replaceFile(path, line(), { durable: false });
  try {
    while (!(await create(path, line()))) {
      const left = await deadText(path, signal);
      if (left === undefined) throw running(model);
      await clearAway(path, left, own);
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
      const text = await disk.readText(path).catch(() => "");
      if (text.includes(own)) await disk.remove(path);
    },
  };
}

async function create(path: string, text: string): Promise<boolean> {
  try {
    const file = await disk.open(path, "wx", { patienceMs: 0 });
    await disk.guard(path, () => file.writeFile(text)).finally(() => file.close());
    return true;
  } catch (error) {
    const code = error instanceof DiskError ? codeOf(error.cause) : codeOf(error);
    if (code === "EEXIST") return false;
    throw error;
  }
}

/**
 * Removes a lock that was found dead. Another process may have found the same and be further: what is moved away is
 * looked at again, and put back where it is not what was dead.
 */
async function clearAway(path: string, dead: string, own: string): Promise<void> {
  const aside = `${path}.${own}`;
  try {
    await rename(path, aside);
  } catch (error) {
    if (codeOf(error) === "ENOENT") return;
    // Windows moves nothing that somebody has open; then it is removed as it was always.
    await disk.remove(path);
    return;
  }
  const moved = await disk.readText(aside).catch(() => "");
  if (moved !== dead) await link(aside, path).catch(() => {});
  await disk.remove(aside);
}

/**
 * What stands in a lock that nobody holds; undefined where somebody does. A number of a process that has ended is dead
 * at once; for all others the counter decides.
 */
async function deadText(path: string, signal: AbortSignal): Promise<string | undefined> {
  const read = () => disk.readText(path).catch(() => undefined);
  const first = await read();
  if (first === undefined) return "";
  const [, pid = "", host] = /^(\d+) \w+ \d+ (.*)\n$/.exec(first) ?? [];
  const isOurs = host === hostname();
  if (isOurs && (Number(pid) === process.pid || !isRunning(Number(pid)))) return first;
  for (let waited = 0; waited < DEAD_MS; waited += LOOK_MS) {
    await pause(LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    const now = await read();
    if (now === undefined) return "";
    if (now !== first) return undefined;
  }
  return first;
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
