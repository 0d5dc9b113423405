// What other programs have fetched already: the caches of Hugging Face and of ModelScope. In: a model and a file of it.
// Out: that file where it is wanted, as a link where the disk has links, after its hash was right. Nothing is written there.

import { copyFile, link, readdir, realpath, symlink } from "node:fs/promises";
import { homedir } from "node:os";
import { basename, join, sep } from "node:path";
import { disk } from "../../disk.ts";
import { type DigestOptions, matches } from "./file-digest.ts";
import type { ListedFile, Listing } from "./hub.ts";
import { expanded, huggingFaceHome } from "./hub-settings.ts";
import { isSafePath } from "./listed-files.ts";
import { folderOf } from "./model-name.ts";

export class ExistingFiles {
  readonly #env: NodeJS.ProcessEnv;
  readonly #model: string;

  constructor(model: string, env: NodeJS.ProcessEnv) {
    this.#model = model;
    this.#env = env;
  }

  /**
   * Links or copies a file that some cache has.
   *
   * @param others more places where it may be
   * @returns whether one has it
   */
  async provide(
    file: ListedFile,
    path: string,
    options: DigestOptions,
    others: readonly string[] = [],
  ): Promise<boolean> {
    // Without a hash, a file of the same size is not the same file.
    if ((file.sha256 ?? file.gitSha1) === undefined || file.size === 0) return false;
    for (const candidate of [...others, ...(await this.#candidates(file))]) {
      if ((await disk.fileSize(candidate)) !== file.size) continue;
      if (!(await matches(candidate, file, options))) continue;
      await take(candidate, path);
      return true;
    }
    return false;
  }

  /** By its size: enough for an estimate of room, and not for more. */
  async seemsToHave(file: ListedFile): Promise<boolean> {
    for (const candidate of await this.#candidates(file)) {
      if ((await disk.fileSize(candidate)) === file.size) return true;
    }
    return false;
  }

  async #candidates({ path, sha256, gitSha1 }: ListedFile): Promise<string[]> {
    const repository = this.#huggingFaceDir();
    const blob = sha256 ?? gitSha1 ?? "";
    const snapshots = [
      ...(await below(join(repository, "snapshots"))),
      ...(await below(join(this.#modelScopeDir(), "snapshots"))),
      ...this.#oldModelScopeDirs(),
    ];
    return [join(repository, "blobs", blob), ...snapshots.map((dir) => join(dir, path))];
  }

  /** What a snapshot in Hugging Face's cache consists of, without asking anybody. */
  async listing(revision = "main"): Promise<Listing | undefined> {
    const repository = this.#huggingFaceDir();
    const isCommit = /^[0-9a-f]{40}$/.test(revision);
    if (!isCommit && !isSafePath(revision)) return undefined;
    const commit = isCommit
      ? revision
      : (await disk.readText(join(repository, "refs", revision)).catch(() => "")).trim();
    if (!/^[0-9a-f]{40}$/.test(commit)) return undefined;
    const dir = join(repository, "snapshots", commit);
    const names = await readdir(dir, { recursive: true }).catch(() => []);
    const paths = names.map((name) => name.split(sep).join("/"));
    const files = await Promise.all(paths.map((path) => describe(dir, path)));
    const found = files.filter((file) => file !== undefined);
    return found.length === 0 ? undefined : { revision: commit, ref: commit, files: found };
  }

  #huggingFaceDir(): string {
    const named = this.#env.HF_HUB_CACHE || this.#env.HUGGINGFACE_HUB_CACHE;
    const hub = named ? expanded(named) : join(huggingFaceHome(this.#env), "hub");
    return join(hub, folderOf(this.#model));
  }

  #modelScopeRoot(): string {
    return expanded(this.#env.MODELSCOPE_CACHE || join(homedir(), ".cache", "modelscope"));
  }

  #modelScopeDir(): string {
    return join(this.#modelScopeRoot(), "models", this.#model.replace("/", "--"));
  }

  /** Where older versions keep their files: with dots written otherwise, and under one folder more or less. */
  #oldModelScopeDirs(): string[] {
    const [owner = "", name = ""] = this.#model.split("/");
    const roots = [this.#modelScopeRoot(), join(this.#modelScopeRoot(), "hub")];
    const parents = roots.flatMap((root) => [root, join(root, "models")]);
    const names = [...new Set([name, name.replaceAll(".", "___")])];
    return parents.flatMap((parent) => names.map((each) => join(parent, owner, each)));
  }
}

/** A file in the cache is a link to one that is named after its hash. */
async function describe(dir: string, name: string): Promise<ListedFile | undefined> {
  const path = join(dir, name);
  const size = await disk.fileSize(path);
  if (size === undefined || !isSafePath(name)) return undefined;
  const blob = basename(await realpath(path));
  if (/^[0-9a-f]{64}$/.test(blob)) return { path: name, size, sha256: blob };
  if (/^[0-9a-f]{40}$/.test(blob)) return { path: name, size, gitSha1: blob };
  return undefined;
}

async function below(dir: string): Promise<string[]> {
  return (await readdir(dir).catch(() => [])).map((name) => join(dir, name));
}

/** A hard link takes no room and outlives what it was made of; the others are for disks without. */
async function take(from: string, to: string): Promise<void> {
  await disk.remove(to);
  const source = await realpath(from);
  try {
    await link(source, to);
  } catch {
    try {
      await symlink(source, to);
    } catch {
      // Never a half file under its own name.
      const fresh = `${to}.new`;
      await disk.guard(fresh, () => copyFile(source, fresh));
      await disk.moveFile(fresh, to);
    }
  }
}
