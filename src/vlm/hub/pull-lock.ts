// One pull of a model at a time, on all processes of this computer. In: a directory. Out: a lock, or a PullError. A process
// that was killed holds nothing: a lock lives as long as its counter moves, which no clock has to tell.

import { randomBytes } from "node:crypto";
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
  try {
    while (!(await create(path))) {
      if (await isAlive(path, signal)) throw running(model);
      await disk.remove(path);
    }
  } catch (error) {
    held.delete(path);
    throw error;
  }
  let beats = 0;
  const own = randomBytes(8).toString("hex");
  const beat = () =>
    disk.replaceFile(path, `${process.pid} ${own} ${beats++} ${hostname()}\n`, { durable: false });
  await beat();
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

async function create(path: string): Promise<boolean> {
  try {
    await (await disk.open(path, "wx", { patienceMs: 0 })).close();
    return true;
  } catch (error) {
    const code = error instanceof DiskError ? codeOf(error.cause) : codeOf(error);
    if (code === "EEXIST") return false;
    throw error;
  }
}

/** A number of a process that has ended is dead at once; for all others the counter decides. */
async function isAlive(path: string, signal: AbortSignal): Promise<boolean> {
  const read = () => disk.readText(path).catch(() => undefined);
  const first = await read();
  if (first === undefined) return false;
  const [, pid = "", host] = /^(\d+) \w+ \d+ (.*)\n$/.exec(first) ?? [];
  const isOurs = host === hostname();
  if (isOurs && (Number(pid) === process.pid || !isRunning(Number(pid)))) return false;
  for (let waited = 0; waited < DEAD_MS; waited += LOOK_MS) {
    await pause(LOOK_MS, undefined, { signal }).catch(() => signal.throwIfAborted());
    const now = await read();
    if (now === undefined) return false;
    if (now !== first) return true;
  }
  return false;
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
