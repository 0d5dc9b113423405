// Moving whole directories. In: two paths. Out: one directory, at the other path or where it was. It knows that mount points,
// shares and other disks have no rename, and that what is half moved is worse than what is not.

import type * as promises from "node:fs/promises";
import { join } from "node:path";
import { codeOf, DiskError } from "./disk-error.ts";
import type { Patience } from "./disk-patience.ts";

type FileSystem = Pick<
  typeof promises,
  "copyFile" | "mkdir" | "readdir" | "rename" | "rm" | "rmdir"
>;

export class DirectoryMoves {
  readonly #fs: FileSystem;
  readonly #patience: Patience;
  readonly #remove: (path: string) => Promise<boolean>;

  /** @param remove as far as it can */
  constructor(fs: FileSystem, patience: Patience, remove: (path: string) => Promise<boolean>) {
    this.#fs = fs;
    this.#patience = patience;
    this.#remove = remove;
  }

  /**
   * Moves a directory to where nothing, or an empty directory, is: by one rename, or file by file where there is no
   * rename, the file `last` at the end. What failed leaves nothing of it at `to`.
   */
  async move(from: string, to: string, last?: string): Promise<void> {
    const fs = this.#fs;
    try {
      // Windows moves nothing to where a directory is, not even an empty one.
      await fs.rmdir(to).catch((error) => {
        if (codeOf(error) !== "ENOENT") throw error;
      });
      await fs.rename(from, to);
    } catch (error) {
      if (!this.#patience.cannotRename(error)) throw error;
      await this.#moveContents(from, to, last);
    }
  }

  /** What was moved before something failed is moved back, so that it can be tried again with everything there. */
  async #moveContents(from: string, to: string, last: string | undefined): Promise<void> {
    const fs = this.#fs;
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
    const fs = this.#fs;
    try {
      await fs.rename(from, to);
      return () => fs.rename(to, from);
    } catch (error) {
      if (!this.#patience.cannotRename(error)) throw error;
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
      await this.#fs.rename(path, aside);
    } catch (error) {
      if (!this.#patience.cannotRename(error)) throw error;
      if (first !== undefined) await this.#fs.rm(join(path, first), { force: true });
      for (const name of await this.#fs.readdir(path)) await this.#remove(join(path, name));
      return;
    }
    await this.#remove(aside);
  }
}
