// The file system as it is in the field. In: paths. Out: what node:fs/promises gives, or a DiskError in words. It knows
// that Windows refuses for a while what a virus scanner looks at, that shares and mount points cannot rename, that disks
// are full or read-only. Everything that caches, settings and packages do on a disk goes through it; it knows none of them.

import * as promises from "node:fs/promises";
import { dirname, join, resolve, win32 } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { codeOf, DiskError, type DiskTrouble } from "./disk-error.ts";

/** What of this computer the module uses; replaced in tests. */
export interface DiskParts {
  readonly fs: Pick<
    typeof promises,
    | "copyFile"
    | "mkdir"
    | "open"
    | "readFile"
    | "readdir"
    | "rename"
    | "rm"
    | "rmdir"
    | "stat"
    | "statfs"
    | "unlink"
    | "writeFile"
  >;
  readonly platform: () => string;
  /** Milliseconds that only grow. */
  readonly now: () => number;
  readonly pause: (milliseconds: number, signal: AbortSignal | undefined) => Promise<void>;
}

export interface PatienceOptions {
  /** Ends the waiting with its reason. */
  readonly signal?: AbortSignal | undefined;
  /** How long another program may hold the path. */
  readonly patienceMs?: number;
}

/** A scanner reads a package of gigabytes before it lets go of the directory. */
const MOVE_PATIENCE_MS = 45_000;
/** One file is soon read. */
const FILE_PATIENCE_MS = 5_000;
/** A place that may not be written looks the same as one that is held; where another place is at hand, it is not waited for. */
const CREATE_PATIENCE_MS = 1_000;
const FIRST_PAUSE_MS = 10;
const LONGEST_PAUSE_MS = 2_000;
/** Others that work on the same path at the same moment take turns; more tries than that mean something else. */
const MAX_RACES = 20;

const HELD = new Set(["EPERM", "EACCES", "EBUSY", "ENOTEMPTY", "EEXIST"]);
/** The empty one: an error of our own, made of what was seen while somebody else was at it. */
const RACED = new Set(["", "ENOENT", "ENOTEMPTY", "EEXIST"]);
const FULL = new Set(["ENOSPC", "EDQUOT", "EFBIG"]);
const REFUSED = new Set(["EACCES", "EPERM", "EROFS", "ENAMETOOLONG"]);
/** What is said of a rename where there is none: other disks, mount points, some shares and FUSE. */
const NO_RENAME = new Set(["EXDEV", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EINVAL", "EIO"]);
/** Said where Unix has no rename for this directory; on Windows they mean that it is held. */
const NO_RENAME_UNIX = new Set(["EPERM", "EACCES", "EBUSY"]);
const NO_SYNC = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM"]);

export class Disk {
  readonly #parts: DiskParts;

  constructor(parts: DiskParts) {
    this.#parts = parts;
  }

  /** Opens a file; waits while a scanner has it. The flags `wx` make a new one. */
  open(
    path: string,
    flags: "r" | "r+" | "wx" | "a",
    options: PatienceOptions = {},
  ): Promise<promises.FileHandle> {
    return this.#patiently(path, () => this.#parts.fs.open(path, flags), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  /** A text file in UTF-8. An error that is no trouble with the disk, such as ENOENT, comes as it is. */
  readText(path: string, options: PatienceOptions = {}): Promise<string> {
    return this.#patiently(path, () => this.#parts.fs.readFile(path, "utf8"), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  readBytes(path: string, options: PatienceOptions = {}): Promise<Buffer> {
    return this.#patiently(path, () => this.#parts.fs.readFile(path), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  /** Size of a file; undefined where there is none. */
  async fileSize(path: string): Promise<number | undefined> {
    try {
      const found = await this.#patiently(path, () => this.#parts.fs.stat(path), {
        patienceMs: FILE_PATIENCE_MS,
      });
      return found.isFile() ? found.size : undefined;
    } catch (error) {
      if (error instanceof DiskError && error.trouble === "held") throw error;
      return undefined; // Not there, which is the answer.
    }
  }

  /** Is there a file, or a directory with something in it? */
  async isOccupied(path: string): Promise<boolean> {
    try {
      const found = await this.#parts.fs.stat(path);
      return !found.isDirectory() || (await this.#parts.fs.readdir(path)).length > 0;
    } catch (error) {
      if (codeOf(error) === "ENOENT") return false;
      throw error;
    }
  }

  /** Makes a directory and those around it. @throws DiskError `refused` where it may not. */
  async makeDirectory(path: string): Promise<void> {
    await this.#patiently(path, () => this.#parts.fs.mkdir(path, { recursive: true }), {
      patienceMs: CREATE_PATIENCE_MS,
      refusal: "refused",
    });
  }

  /** Finds out whether files can be made in a directory. @throws DiskError `refused` or `full` */
  async assertWritable(dir: string): Promise<void> {
    const probe = join(dir, ".write-probe");
    await this.#patiently(dir, () => this.#parts.fs.writeFile(probe, "x"), {
      patienceMs: CREATE_PATIENCE_MS,
      refusal: "refused",
    });
    await this.remove(probe);
  }

  /**
   * Writes a whole file that appears at once or not at all; an older one stays until then. `durable`: a power failure
   * afterwards does not undo it. @default true
   */
  async replaceFile(
    path: string,
    data: string | Uint8Array,
    { durable = true, ...options }: PatienceOptions & { readonly durable?: boolean } = {},
  ): Promise<void> {
    const fresh = `${path}.new`;
    await this.guard(path, () => this.#parts.fs.writeFile(fresh, data, { flush: durable }));
    await this.moveFile(fresh, path, options);
  }

  /** Moves a file over whatever file is there, to another disk too. */
  async moveFile(from: string, to: string, options: PatienceOptions = {}): Promise<void> {
    await this.#patiently(to, () => this.#moveFile(from, to), {
      patienceMs: MOVE_PATIENCE_MS,
      ...options,
    });
  }

  async #moveFile(from: string, to: string): Promise<void> {
    const { fs } = this.#parts;
    try {
      await fs.rename(from, to);
    } catch (error) {
      if (!this.#cannotRename(error)) throw error;
      await fs.copyFile(from, to);
      await fs.unlink(from);
    }
  }

  /**
   * Moves a directory to where nothing, or an empty directory, is: by one rename, or file by file where there is no
   * rename, the file `last` at the end. What failed leaves nothing of it at `to`.
   */
  async moveDirectory(from: string, to: string, last?: string): Promise<void> {
    const { fs } = this.#parts;
    try {
      // Windows moves nothing to where a directory is, not even an empty one.
      await fs.rmdir(to).catch((error) => {
        if (codeOf(error) !== "ENOENT") throw error;
      });
      await fs.rename(from, to);
    } catch (error) {
      if (!this.#cannotRename(error)) throw error;
      await this.#moveContents(from, to, last);
    }
  }

  /** What was moved before something failed is moved back, so that it can be tried again with everything there. */
  async #moveContents(from: string, to: string, last: string | undefined): Promise<void> {
    const { fs } = this.#parts;
    await fs.mkdir(to, { recursive: true });
    const names = await fs.readdir(from);
    const ordered = names.toSorted((a, b) => Number(a === last) - Number(b === last));
    const moved: (() => Promise<void>)[] = [];
    try {
      for (const name of ordered) {
        moved.push(await this.#place(join(from, name), join(to, name)));
      }
    } catch (error) {
      try {
        for (const back of moved.toReversed()) await back();
      } catch (cause) {
        throw new DiskError("held", to, { cause });
      }
      throw error;
    }
  }

  /** Puts one file of a directory elsewhere. Resolves to what takes it back. */
  async #place(from: string, to: string): Promise<() => Promise<void>> {
    const { fs } = this.#parts;
    try {
      await fs.rename(from, to);
      return () => fs.rename(to, from);
    } catch (error) {
      if (!this.#cannotRename(error)) throw error;
    }
    const takeBack = () => fs.rm(to, { force: true });
    try {
      await fs.copyFile(from, to);
      return takeBack;
    } catch (error) {
      await takeBack();
      throw error;
    }
  }

  /** Moves a directory out of the way to `aside`; where it cannot be, removes it there, the file `first` at the beginning. */
  async moveAside(path: string, aside: string, first?: string): Promise<void> {
    try {
      await this.#parts.fs.rename(path, aside);
    } catch (error) {
      if (!this.#cannotRename(error)) throw error;
      if (first !== undefined) await this.#parts.fs.rm(join(path, first), { force: true });
      for (const name of await this.#parts.fs.readdir(path)) await this.remove(join(path, name));
      return;
    }
    await this.remove(aside);
  }

  /**
   * Does something to a path again and again until it works: at once where others came in between, with growing pauses
   * where another program holds it.
   */
  async insist(
    path: string,
    attempt: () => Promise<void>,
    options: PatienceOptions = {},
  ): Promise<void> {
    await this.#patiently(path, attempt, {
      patienceMs: MOVE_PATIENCE_MS,
      races: MAX_RACES,
      ...options,
    });
  }

  /** Removes a file or a tree as far as it can; what is held stays. Returns whether all is gone. */
  async remove(path: string): Promise<boolean> {
    try {
      const remove = () => this.#parts.fs.rm(path, { recursive: true, force: true });
      await this.#patiently(path, remove, { patienceMs: FILE_PATIENCE_MS });
      return true;
    } catch {
      return false;
    }
  }

  /** Runs something that writes to `path`, and puts the disk's trouble into words. */
  async guard<T>(path: string, write: () => Promise<T>): Promise<T> {
    try {
      return await write();
    } catch (error) {
      throw await this.#explain(error, path, "refused");
    }
  }

  /** Makes what was written durable, where the disk can do that. */
  async sync(handle: promises.FileHandle): Promise<void> {
    try {
      await handle.sync();
    } catch (error) {
      if (!NO_SYNC.has(codeOf(error) ?? "")) throw error;
    }
  }

  /** Bytes that may be written where `path` lies, or will lie; undefined when the system does not tell. */
  async freeBytes(path: string): Promise<number | undefined> {
    for (let dir = resolve(path); ; dir = dirname(dir)) {
      try {
        const { bavail, bsize, blocks } = await this.#parts.fs.statfs(dir);
        return blocks > 0 ? bavail * bsize : undefined; // Some shares say zero of everything.
      } catch (error) {
        if (codeOf(error) !== "ENOENT" || dir === dirname(dir)) return undefined;
      }
    }
  }

  /** @throws DiskError `full` when that much does not fit. */
  async assertRoom(path: string, neededBytes: number): Promise<void> {
    const freeBytes = await this.freeBytes(path);
    if (freeBytes === undefined || freeBytes >= neededBytes) return;
    throw new DiskError("full", path, { neededBytes, freeBytes });
  }

  async #patiently<T>(
    path: string,
    attempt: () => Promise<T>,
    options: PatienceOptions & { readonly races?: number; readonly refusal?: DiskTrouble },
  ): Promise<T> {
    const { signal, patienceMs = FILE_PATIENCE_MS, races = 0, refusal } = options;
    const end = this.#parts.now() + patienceMs;
    let wait = FIRST_PAUSE_MS;
    for (let tries = 1; ; tries++) {
      try {
        return await attempt();
      } catch (error) {
        if (error instanceof DiskError) throw error;
        const code = codeOf(error) ?? "";
        const windows = this.#parts.platform() === "win32";
        if (windows && HELD.has(code) && this.#parts.now() < end) {
          await this.#parts.pause(wait, signal);
          wait = Math.min(wait * 1.6, LONGEST_PAUSE_MS);
        } else if (!RACED.has(code) || tries >= races) {
          throw await this.#explain(error, path, refusal ?? (windows ? "held" : "refused"));
        }
      }
    }
  }

  /** The system's error in words, where it is about the disk; else as it is. */
  async #explain(error: unknown, path: string, refusal: DiskTrouble): Promise<unknown> {
    const code = codeOf(error);
    if (code === undefined || error instanceof DiskError) return error;
    const cause = error;
    if (FULL.has(code)) {
      return new DiskError("full", path, { cause, freeBytes: await this.freeBytes(path) });
    }
    if (code === "EBUSY") return new DiskError("held", path, { cause });
    if (code === "EROFS" || code === "ENAMETOOLONG")
      return new DiskError("refused", path, { cause });
    return REFUSED.has(code) ? new DiskError(refusal, path, { cause }) : error;
  }

  #cannotRename(error: unknown): boolean {
    const code = codeOf(error) ?? "";
    if (NO_RENAME.has(code)) return true;
    return this.#parts.platform() !== "win32" && NO_RENAME_UNIX.has(code);
  }
}

/** The disk of this computer. */
export const disk = new Disk({
  // The module itself, not its functions: what replaces one of them later is heard.
  fs: promises,
  platform: () => process.platform,
  now: () => performance.now(),
  pause: (milliseconds, signal) => pause(milliseconds, undefined, { signal }),
});

/** Windows cuts what native libraries open at this length; Node's own functions go further by themselves. */
const LONGEST_NATIVE_PATH = 247;

/** A path as a native library on Windows has to be given it: in the long form where it is long. */
export function nativePath(path: string, platform: string = process.platform): string {
  if (platform !== "win32" || path.length <= LONGEST_NATIVE_PATH) return path;
  return win32.toNamespacedPath(path);
}
