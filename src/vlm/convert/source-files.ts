// The files of a checkpoint while it is converted. In: an open checkpoint. Out: their sizes and hashes, and the certainty
// that what is read later is what was hashed first; adapters count. Knows nothing of what is made of them.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { ModelLoadError } from "../errors.ts";
import { fingerprintFile, type StreamOptions, sha256File } from "./hashed-file.ts";
import type { AdapterDigest, InputDigest } from "./manifest.ts";

interface InputState {
  readonly size: number;
  readonly mtimeMs: number;
}

interface SourceFile {
  readonly dir: string;
  readonly file: string;
}

/** What the files were when they were hashed. */
export interface SourceDigests {
  readonly inputs: readonly InputDigest[];
  readonly adapters: readonly AdapterDigest[];
}

export class SourceFiles {
  readonly #checkpoint: Checkpoint;
  readonly #files: readonly SourceFile[];
  readonly #before: readonly InputState[];
  /** Of the files that are copied as they are. */
  readonly settingsBytes: number;
  readonly totalBytes: number;

  private constructor(checkpoint: Checkpoint, files: readonly SourceFile[], before: InputState[]) {
    const settings = before.slice(0, checkpoint.settingsFiles.length);
    this.#checkpoint = checkpoint;
    this.#files = files;
    this.#before = before;
    this.settingsBytes = sumOfSizes(settings);
    this.totalBytes = sumOfSizes(before);
  }

  /** Remembers the files as they are now. @param coming files that are not here yet, and are left out */
  static async of(checkpoint: Checkpoint, coming: readonly string[] = []): Promise<SourceFiles> {
    const { dir } = checkpoint;
    const here = [...checkpoint.settingsFiles, ...checkpoint.weightFiles];
    const files = [
      ...here.filter((file) => !coming.includes(file)).map((file) => ({ dir, file })),
      ...checkpoint.adapters.flatMap((adapter) =>
        adapter.files.map((file) => ({ dir: adapter.dir, file })),
      ),
    ];
    return new SourceFiles(checkpoint, files, await inputStates(files));
  }

  async hash(stream: StreamOptions): Promise<SourceDigests> {
    const digests: InputDigest[] = [];
    for (const { dir, file } of this.#files) {
      const path = join(dir, file);
      const digest = await sha256File(path, stream);
      digests.push({ ...digest, file, fingerprint: await fingerprintFile(path) });
    }
    const { adapters } = this.#checkpoint;
    const ofAdapters = adapters.reduce((sum, { files }) => sum + files.length, 0);
    const first = digests.splice(digests.length - ofAdapters);
    return {
      inputs: digests,
      adapters: adapters.map(({ name, files }) => ({
        name,
        inputs: first.splice(0, files.length),
      })),
    };
  }

  /**
   * The hashes are of what was read first; makes sure that the weights read later are the same.
   *
   * @throws ModelLoadError `model-corrupt` that names what changed
   */
  async assertUnchanged(): Promise<void> {
    const before = this.#before;
    const after = await inputStates(this.#files);
    const changed = this.#files.filter(
      (_, i) => after[i]?.size !== before[i]?.size || after[i]?.mtimeMs !== before[i]?.mtimeMs,
    );
    if (changed.length > 0) {
      throw new ModelLoadError(
        "model-corrupt",
        `The checkpoint changed while it was being converted: ${changed.map(({ file }) => file).join(", ")}.`,
        { modelDir: this.#checkpoint.dir },
      );
    }
  }
}

async function inputStates(files: readonly SourceFile[]): Promise<InputState[]> {
  return await Promise.all(files.map(({ dir, file }) => stat(join(dir, file))));
}

function sumOfSizes(states: readonly InputState[]): number {
  return states.reduce((sum, { size }) => sum + size, 0);
}
