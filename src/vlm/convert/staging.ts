// A directory that appears whole or not at all. In: the path it will have. Out: a hidden sibling to fill, put in
// place by one rename where the disk has one. Leftovers of runs that died are swept. Knows nothing of what is inside.

import { randomBytes } from "node:crypto";
import { readdir, realpath, rmdir } from "node:fs/promises";
import { hostname } from "node:os";
import { basename, dirname, join, resolve } from "node:path";
import { disk } from "../../disk.ts";

/** Staging directories this process is filling now. */
const active = new Set<string>();

export interface StagingOptions {
  /** May this existing directory be replaced? Throws if not. Never called for an empty one. */
  readonly assertReplaceable: (dir: string) => Promise<void>;
  /** The file without which nothing takes the directory for what it is: it comes last and goes first. */
  readonly keyFile?: string;
}

/** Fill `dir`, then `publish`; `discard` afterwards in every case. */
export class StagingDirectory {
  readonly dir: string;
  readonly #target: string;
  readonly #options: StagingOptions;
  /** The outermost directory on the way to the target that was not there before. */
  #made: string | undefined;

  private constructor(dir: string, target: string, options: StagingOptions) {
    this.dir = dir;
    this.#target = target;
    this.#options = options;
  }

  /** @throws DiskError `refused` where nothing can be written, before anything is. */
  static async create(path: string, options: StagingOptions): Promise<StagingDirectory> {
    const target = await followLinks(resolve(path));
    if (await disk.isOccupied(target)) await options.assertReplaceable(target);
    const dir = siblingOf(target, "partial");
    active.add(dir);
    const staging = new StagingDirectory(dir, target, options);
    staging.#made = await outermostMissing(dirname(target));
    try {
      await disk.makeDirectory(dirname(target));
      await sweep(target);
      await disk.makeDirectory(dir);
      await disk.assertWritable(dir);
      return staging;
    } catch (error) {
      await staging.discard();
      throw error;
    }
  }

  /** A directory that somebody else filled, on the same disk, and keeps until it is published. */
  static async of(dir: string, path: string, options: StagingOptions): Promise<StagingDirectory> {
    return new StagingDirectory(dir, await followLinks(resolve(path)), options);
  }

  /** Puts the directory in its place; what was there before goes away. */
  async publish(signal?: AbortSignal): Promise<void> {
    // Another conversion may put its own there, or take the old one away, between any two of these steps; a scanner may
    // hold the fresh files. Then the step fails and all is looked at again. A failure that stays is a real one.
    const attempt = async () => {
      if (await disk.isOccupied(this.#target)) await this.#moveAside();
      await disk.moveDirectory(this.dir, this.#target, this.#options.keyFile);
    };
    await disk.insist(this.#target, attempt, { signal });
  }

  /** What cannot be removed now is swept by a later run; it is hidden, and not a whole directory of its kind. */
  async discard(): Promise<void> {
    const { keyFile } = this.#options;
    if (keyFile !== undefined) await disk.remove(join(this.dir, keyFile));
    await disk.remove(this.dir);
    active.delete(this.dir);
    await this.#removeMade();
  }

  /** What was made for a target that did not come; somebody else's files keep it. */
  async #removeMade(): Promise<void> {
    let path = dirname(this.dir);
    while (this.#made !== undefined && path.startsWith(this.#made)) {
      const isGone = await rmdir(path).then(
        () => true,
        () => false,
      );
      if (!isGone) return;
      path = dirname(path);
    }
  }

  async #moveAside(): Promise<void> {
    await this.#options.assertReplaceable(this.#target);
    const aside = siblingOf(this.#target, "replaced");
    active.add(aside);
    try {
      await disk.moveAside(this.#target, aside, this.#options.keyFile);
    } finally {
      active.delete(aside);
    }
  }
}

/** Removes hidden siblings whose process has ended. */
async function sweep(target: string): Promise<void> {
  const pattern = new RegExp(`^\\.(.+)\\.(?:partial|replaced)-${hostTag()}-(\\d+)-[0-9a-f]+$`);
  // Whoever made the directory may take it away again: then nothing is in it.
  for (const name of await readdir(dirname(target)).catch(() => [])) {
    const [, owner, pid] = pattern.exec(name) ?? [];
    const path = join(dirname(target), name);
    if (owner !== basename(target) || active.has(path)) continue;
    if (Number(pid) !== process.pid && isAlive(Number(pid))) continue;
    await disk.remove(path);
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

async function outermostMissing(path: string): Promise<string | undefined> {
  const isThere = await realpath(path).then(
    () => true,
    () => false,
  );
  if (isThere || dirname(path) === path) return undefined;
  return (await outermostMissing(dirname(path))) ?? path;
}

async function followLinks(path: string): Promise<string> {
  try {
    return await realpath(path);
  } catch {
    return path; // Nothing there yet.
  }
}
