// Where pulled models lie, and what lies there. In: a directory and names. Out: paths, and what is known of each model.
// A model is there when its record is, which is written last. It downloads nothing.
//
//   models--OWNER--NAME/model.json              what was pulled, with every hash
//   models--OWNER--NAME/pull.json               the same while it is being pulled
//   models--OWNER--NAME/snapshots/COMMIT/       the files of the hub; gone after the conversion unless kept, or never
//                                               converted, as what another program made
//   models--OWNER--NAME/PRECISION/              a package made from them
//   models--OWNER--NAME/                        or a package that another program made, which somebody put there
//   models--OWNER--NAME/.coming/                one that is being made while the files come

import { readdir } from "node:fs/promises";
import { join, resolve } from "node:path";
import { z } from "zod";
import { disk } from "../../disk.ts";
import { isMarkedAsPackage, type PackageManifest, readManifest } from "../convert/manifest.ts";
import { userCacheDir } from "../convert/user-cache-dir.ts";
import { isVlmError, PullError } from "../errors.ts";
import { type ForeignFiles, findForeignFiles, foreignGraphsIn } from "../foreign/foreign-files.ts";
import type { HubKind, ListedFile } from "./hub.ts";
import { expanded } from "./hub-settings.ts";
import { isSafePath } from "./listed-files.ts";
import { folderOf, modelName, nameOf } from "./model-name.ts";

const RECORD_FILE = "model.json";
const UNFINISHED_FILE = "pull.json";

const FILE = z.object({
  path: z.string().refine(isSafePath),
  size: z.int().min(0),
  sha256: z.string().optional(),
  gitSha1: z.string().optional(),
});
const RECORD = z.object({
  formatVersion: z.literal(1),
  name: z.string(),
  hub: z.enum(["hf", "modelscope"]),
  host: z.string(),
  revision: z.string().regex(/^[0-9a-f]{40}$/),
  ref: z.string(),
  asked: z.string().optional(),
  files: z.array(FILE),
});

/** What was pulled from where. */
export interface ModelRecord {
  readonly formatVersion: 1;
  readonly name: string;
  readonly hub: HubKind;
  readonly host: string;
  /** Commit, as `Listing.revision`. */
  readonly revision: string;
  readonly ref: string;
  /** Branch, tag or commit that was asked for. */
  readonly asked?: string | undefined;
  readonly files: readonly ListedFile[];
}

export interface StoredPackage {
  readonly dir: string;
  readonly manifest: PackageManifest;
  readonly bytes: number;
}

export interface StoredModel {
  readonly name: string;
  readonly dir: string;
  /** undefined while it has never been pulled to its end. */
  readonly record: ModelRecord | undefined;
  /** Of a pull that was interrupted. */
  readonly unfinished: ModelRecord | undefined;
  readonly packages: readonly StoredPackage[];
  /** The hub's files, where they were kept and can be converted. */
  readonly checkpoint: string | undefined;
  /** What another program made of it: pulled, or put into the model's own directory. */
  readonly foreign: ForeignFiles | undefined;
}

/** `NAPCAT_VLM_MODELS`, else a directory in the user's cache. */
function defaultModelsDir(env: NodeJS.ProcessEnv = process.env): string {
  const named = env.NAPCAT_VLM_MODELS ?? "";
  return named === "" ? join(userCacheDir(), "napcat-vlm", "models") : resolve(expanded(named));
}

export class ModelStore {
  readonly dir: string;

  constructor(dir: string = defaultModelsDir()) {
    this.dir = dir;
  }

  /** @param model OWNER/NAME */
  modelDir(model: string): string {
    return join(this.dir, folderOf(model));
  }

  snapshotDir(model: string, revision: string): string {
    return join(this.modelDir(model), "snapshots", revision);
  }

  /** @param text a name or a short name; undefined where nothing of it is here */
  async find(text: string): Promise<StoredModel | undefined> {
    const name = modelName(text);
    if (name === undefined) return undefined;
    const dir = this.modelDir(name);
    const record = await readRecord(join(dir, RECORD_FILE), name);
    const unfinished = await readRecord(join(dir, UNFINISHED_FILE), name);
    const packages = await readPackages(dir);
    const kept = await this.#kept(record);
    const pulled = kept && foreignGraphsIn(record?.files ?? []);
    const foreign = pulled ? { directory: kept, ...pulled } : await findForeignFiles(dir);
    if ([record, unfinished, foreign].every((found) => found === undefined)) return undefined;
    const checkpoint = pulled ? undefined : kept;
    return { name, dir, record, unfinished, packages, checkpoint, foreign };
  }

  /** @throws PullError `not-pulled` */
  async get(text: string): Promise<StoredModel> {
    const found = await this.find(text);
    if (found !== undefined) return found;
    const name = modelName(text);
    throw new PullError(
      "not-pulled",
      name === undefined
        ? `${text.slice(0, 80)} is no name of a model: names are OWNER/NAME, such as Qwen/Qwen3-VL-2B-Instruct, or short ones such as qwen3-vl-2b.`
        : `${name} was not pulled yet: napcat-vlm pull ${name}`,
    );
  }

  /** By name. */
  async all(): Promise<StoredModel[]> {
    const folders = await readdir(this.dir).catch(() => []);
    const names = folders.flatMap((folder) => nameOf(folder) ?? []).toSorted();
    const found = await Promise.all(names.map((name) => this.find(name)));
    return found.filter((model) => model !== undefined);
  }

  async begin(record: ModelRecord): Promise<void> {
    await writeRecord(join(this.modelDir(record.name), UNFINISHED_FILE), record);
  }

  /** From here on the model is there. */
  async complete(record: ModelRecord): Promise<void> {
    const dir = this.modelDir(record.name);
    await writeRecord(join(dir, RECORD_FILE), record);
    await disk.remove(join(dir, UNFINISHED_FILE));
  }

  /** Removes what a process that was killed at its very end left of a pull that is complete. */
  async tidy({ name, record, unfinished, checkpoint, foreign }: StoredModel): Promise<void> {
    if (record === undefined || unfinished?.revision !== record.revision) return;
    await this.complete(record);
    const isKept = checkpoint !== undefined || foreign !== undefined;
    await this.removeSnapshots(name, isKept ? record.revision : undefined);
  }

  /** Removes snapshots, but the one that is named. */
  async removeSnapshots(model: string, kept?: string): Promise<void> {
    const dir = join(this.modelDir(model), "snapshots");
    for (const revision of await readdir(dir).catch(() => [])) {
      if (revision !== kept) await disk.remove(join(dir, revision));
    }
    if (kept === undefined) await disk.remove(dir);
  }

  /** The record goes first: what cannot be removed is no model any more. @returns whether all is gone */
  async remove(model: StoredModel): Promise<boolean> {
    await disk.remove(join(model.dir, RECORD_FILE));
    return disk.remove(model.dir);
  }

  /** Where the files of a record are, if they all are. */
  async #kept(record: ModelRecord | undefined): Promise<string | undefined> {
    if (record === undefined) return undefined;
    const dir = this.snapshotDir(record.name, record.revision);
    for (const { path, size } of record.files) {
      if ((await disk.fileSize(join(dir, path))) !== size) return undefined;
    }
    return dir;
  }
}

async function writeRecord(path: string, record: ModelRecord): Promise<void> {
  await disk.replaceFile(path, `${JSON.stringify(record, undefined, 2)}\n`);
}

/** One that is damaged counts as none: pulling again mends it. */
async function readRecord(path: string, name: string): Promise<ModelRecord | undefined> {
  try {
    const record = RECORD.parse(JSON.parse(await disk.readText(path)));
    return record.name === name ? record : undefined;
  } catch {
    return undefined;
  }
}

async function readPackages(dir: string): Promise<StoredPackage[]> {
  const packages: StoredPackage[] = [];
  for (const name of (await readdir(dir).catch(() => [])).toSorted()) {
    const path = join(dir, name);
    if (name === "snapshots" || name.startsWith(".") || !(await isMarkedAsPackage(path))) continue;
    try {
      const manifest = await readManifest(path);
      const bytes = manifest.outputs.reduce((sum, output) => sum + output.bytes, 0);
      packages.push({ dir: path, manifest, bytes });
    } catch (error) {
      // Damaged, or of another version: converted again when it is wanted.
      if (!isVlmError(error)) throw error;
    }
  }
  return packages;
}
