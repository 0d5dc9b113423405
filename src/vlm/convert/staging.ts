// A directory that appears whole or not at all. In: the path it will have. Out: a hidden sibling to fill, put in
// place by one rename. Leftovers of runs that died are swept. Knows nothing of what is inside.

import { randomBytes } from "node:crypto";
import { mkdir, readdir, realpath, rename, rm, rmdir, stat } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";

/** Conversions of one output that finish at once take turns; more tries than that mean something else. */
const MAX_ATTEMPTS = 20;

/** Staging directories this process is filling now. */
const active = new Set<string>();

export interface StagingOptions {
  /** May this existing directory be replaced? Throws if not. Never called for an empty one. */
  readonly assertReplaceable: (dir: string) => Promise<void>;
}

/** Fill `dir`, then `publish`; `discard` afterwards in every case. */
export class StagingDirectory {
  readonly dir: string;
  readonly #target: string;
  readonly #options: StagingOptions;

  private constructor(dir: string, target: string, options: StagingOptions) {
    this.dir = dir;
    this.#target = target;
    this.#options = options;
  }

  static async create(path: string, options: StagingOptions): Promise<StagingDirectory> {
    const target = await followLinks(resolve(path));
    if (await isOccupied(target)) await options.assertReplaceable(target);
    await mkdir(dirname(target), { recursive: true });
    await sweep(target);
    const dir = siblingOf(target, "partial");
    active.add(dir);
    await mkdir(dir);
    return new StagingDirectory(dir, target, options);
  }

  /** Puts the directory in its place; what was there before goes away. */
  async publish(): Promise<void> {
    // Another conversion may put its own there, or take the old one away, between any two of these steps: then the
    // step fails and all is looked at again. A failure that stays is a real one.
    for (let attempt = 1; ; attempt++) {
      try {
        if (await isOccupied(this.#target)) await this.#moveAside();
        else await removeEmpty(this.#target);
        await rename(this.dir, this.#target);
        return;
      } catch (error) {
        if (attempt === MAX_ATTEMPTS) throw error;
      }
    }
  }

  async discard(): Promise<void> {
    await rm(this.dir, { recursive: true, force: true });
    active.delete(this.dir);
  }

  async #moveAside(): Promise<void> {
    await this.#options.assertReplaceable(this.#target);
    const aside = siblingOf(this.#target, "replaced");
    active.add(aside);
    try {
      await rename(this.#target, aside);
      await rm(aside, { recursive: true, force: true });
    } finally {
      active.delete(aside);
    }
  }
}

/** Removes hidden siblings whose process has ended. */
async function sweep(target: string): Promise<void> {
  const pattern = new RegExp(`^\\.(.+)\\.(?:partial|replaced)-${hostTag()}-(\\d+)-[0-9a-f]+$`);
  for (const name of await readdir(dirname(target))) {
    const [, owner, pid] = pattern.exec(name) ?? [];
    const path = join(dirname(target), name);
    if (owner !== basename(target) || active.has(path)) continue;
    if (Number(pid) !== process.pid && isAlive(Number(pid))) continue;
    await rm(path, { recursive: true, force: true });
  }
}

/** The host is part of the name: process numbers of another machine or container mean nothing here. */
function siblingOf(target: string, kind: "partial" | "replaced"): string {
  const unique = `${hostTag()}-${process.pid}-${randomBytes(4).toString("hex")}`;
  return join(dirname(target), `.${basename(target)}.${kind}-${unique}`);
}

function hostTag(): string {
  return hostname().replace(/[^A-Za-z0-9]/g, "_");
}

function isAlive(pid: number): boolean {
  try {
    process.kill(pid, 0);
    return true;
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === "EPERM";
  }
}

async function followLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return path; // Nothing there yet.
  }
}

async function isOccupied(path: string): Promise<boolean> {
  try {
    return !(await stat(path)).isDirectory() || (await readdir(path)).length > 0;
  } catch (error) {
    if (isMissing(error)) return false;
    throw error;
  }
}

/** Windows moves nothing to where a directory is, not even an empty one. */
async function removeEmpty(path: string): Promise<void> {
  try {
    await rmdir(path);
  } catch (error) {
    if (!isMissing(error)) throw error;
  }
}

function isMissing(error: unknown): boolean {
  return (error as NodeJS.ErrnoException).code === "ENOENT";
}
