// The file system as it is in the field. In: paths. Out: what node:fs/promises gives, or a DiskError in words. It knows
// that Windows refuses for a while what a virus scanner looks at, that shares and mount points cannot rename, that disks
// are full or read-only. Everything that caches, settings and packages do on a disk goes through it; it knows none of them.

import * as promises from "node:fs/promises";
import { dirname, join, resolve, win32 } from "node:path";
import { setTimeout as pause } from "node:timers/promises";
import { codeOf, DiskError } from "./disk-error.ts";
import { DirectoryMoves } from "./disk-moves.ts";
import { Patience, type PatienceOptions, type PatienceParts } from "./disk-patience.ts";

/** What of this computer the module uses; replaced in tests. */
export interface DiskParts extends PatienceParts {
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
}

/** A scanner reads a package of gigabytes before it lets go of the directory. */
const MOVE_PATIENCE_MS = 45_000;
/** One file is soon read. */
const FILE_PATIENCE_MS = 5_000;
/** A place that may not be written looks the same as one that is held; where another place is at hand, it is not waited for. */
const CREATE_PATIENCE_MS = 1_000;
/** Others that work on the same path at the same moment take turns; more tries than that mean something else. */
const MAX_RACES = 20;

const NO_SYNC = new Set(["EINVAL", "ENOTSUP", "EOPNOTSUPP", "ENOSYS", "EPERM"]);

export class Disk {
  readonly #parts: DiskParts;
  readonly #patience: Patience;
  readonly #moves: DirectoryMoves;

  constructor(parts: DiskParts) {
    this.#parts = parts;
    this.#patience = new Patience(parts, (path) => this.freeBytes(path));
    this.#moves = new DirectoryMoves(parts.fs, this.#patience, (path) => this.remove(path));
  }

  /** Opens a file; waits while a scanner has it. The flags `wx` make a new one. */
  open(
    path: string,
    flags: "r" | "r+" | "wx" | "a",
    options: PatienceOptions = {},
  ): Promise<promises.FileHandle> {
    return this.#patience.until(path, () => this.#parts.fs.open(path, flags), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  /** A text file in UTF-8. An error that is no trouble with the disk, such as ENOENT, comes as it is. */
  readText(path: string, options: PatienceOptions = {}): Promise<string> {
    return this.#patience.until(path, () => this.#parts.fs.readFile(path, "utf8"), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  readBytes(path: string, options: PatienceOptions = {}): Promise<Buffer> {
    return this.#patience.until(path, () => this.#parts.fs.readFile(path), {
      patienceMs: FILE_PATIENCE_MS,
      ...options,
    });
  }

  /** Size of a file; undefined where there is none. */
  async fileSize(path: string): Promise<number | undefined> {
    try {
      const found = await this.#patience.until(path, () => this.#parts.fs.stat(path), {
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
    await this.#patience.until(path, () => this.#makeDirectory(resolve(path)), {
      patienceMs: CREATE_PATIENCE_MS,
      refusal: "refused",
    });
  }

  /**
   * Not by Node's own recursion: that never ends, and cannot be stopped, where nothing can be made in a directory which
   * is there and the system says that something is not there, as in /proc.
   */
  async #makeDirectory(path: string): Promise<void> {
    const { fs } = this.#parts;
    try {
      await fs.mkdir(path).catch(async (error) => {
        if (codeOf(error) !== "ENOENT" || dirname(path) === path) throw error;
        await this.#makeDirectory(dirname(path));
        await fs.mkdir(path);
      });
    } catch (cause) {
      const isThere = await fs.stat(path).then(
        (found) => found.isDirectory(),
        () => false,
      );
      if (isThere) return;
      if (cause instanceof DiskError || codeOf(cause) !== "ENOENT") throw cause;
      throw new DiskError("refused", path, { cause });
    }
  }

  /** Finds out whether files can be made in a directory. @throws DiskError `refused` or `full` */
  async assertWritable(dir: string): Promise<void> {
    const probe = join(dir, ".write-probe");
    await this.#patience.until(dir, () => this.#parts.fs.writeFile(probe, "x"), {
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
    await this.#patience.until(to, () => this.#moveFile(from, to), {
      patienceMs: MOVE_PATIENCE_MS,
      ...options,
    });
  }

  async #moveFile(from: string, to: string): Promise<void> {
    const { fs } = this.#parts;
    try {
      await fs.rename(from, to);
    } catch (error) {
      if (!this.#patience.cannotRename(error)) throw error;
      await fs.copyFile(from, to);
      await fs.unlink(from);
    }
  }

  /**
   * Moves a directory to where nothing, or an empty directory, is: by one rename, or file by file where there is no
   * rename, the file `last` at the end. What failed leaves nothing of it at `to`.
   */
  moveDirectory(from: string, to: string, last?: string): Promise<void> {
    return this.#moves.move(from, to, last);
  }

  /** Moves a directory out of the way to `aside`; where it cannot be, removes it there, the file `first` at the beginning. */
  moveAside(path: string, aside: string, first?: string): Promise<void> {
    return this.#moves.moveAside(path, aside, first);
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
    await this.#patience.until(path, attempt, {
      patienceMs: MOVE_PATIENCE_MS,
      races: MAX_RACES,
      ...options,
    });
  }

  /** Removes a file or a tree as far as it can; what is held stays. Returns whether all is gone. */
  async remove(path: string): Promise<boolean> {
    try {
      const remove = () => this.#parts.fs.rm(path, { recursive: true, force: true });
      await this.#patience.until(path, remove, { patienceMs: FILE_PATIENCE_MS });
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
      throw await this.#patience.explain(error, path, "refused");
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
