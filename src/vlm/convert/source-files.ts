// The files of a checkpoint while it is converted. In: an open checkpoint. Out: their sizes and hashes, and the certainty
// that what is read later is what was hashed first. Knows nothing of what is made of them.

import { stat } from "node:fs/promises";
import { join } from "node:path";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { ModelLoadError } from "../errors.ts";
import { fingerprintFile, type StreamOptions, sha256File } from "./hashed-file.ts";
import type { InputDigest } from "./manifest.ts";

interface InputState {
  readonly size: number;
  readonly mtimeMs: number;
}

export class SourceFiles {
  readonly #dir: string;
  readonly #names: readonly string[];
  readonly #before: readonly InputState[];
  /** Of the files that are copied as they are. */
  readonly settingsBytes: number;
  readonly totalBytes: number;

  private constructor(checkpoint: Checkpoint, names: readonly string[], before: InputState[]) {
    const settings = before.slice(0, checkpoint.settingsFiles.length);
    this.#dir = checkpoint.dir;
    this.#names = names;
    this.#before = before;
    this.settingsBytes = sumOfSizes(settings);
    this.totalBytes = sumOfSizes(before);
  }

  /** Remembers the files as they are now. */
  static async of(checkpoint: Checkpoint): Promise<SourceFiles> {
    const names = [...checkpoint.settingsFiles, ...checkpoint.weightFiles];
    return new SourceFiles(checkpoint, names, await inputStates(checkpoint.dir, names));
  }

  async hash(stream: StreamOptions): Promise<InputDigest[]> {
    const inputs: InputDigest[] = [];
    for (const file of this.#names) {
      const path = join(this.#dir, file);
      const digest = await sha256File(path, stream);
      inputs.push({ ...digest, file, fingerprint: await fingerprintFile(path) });
    }
    return inputs;
  }

  /**
   * The hashes are of what was read first; makes sure that the weights read later are the same.
   *
   * @throws ModelLoadError `model-corrupt` that names what changed
   */
  async assertUnchanged(): Promise<void> {
    const before = this.#before;
    const after = await inputStates(this.#dir, this.#names);
    const changed = this.#names.filter(
      (_, i) => after[i]?.size !== before[i]?.size || after[i]?.mtimeMs !== before[i]?.mtimeMs,
    );
    if (changed.length > 0) {
      throw new ModelLoadError(
        "model-corrupt",
        `The checkpoint changed while it was being converted: ${changed.join(", ")}.`,
        { modelDir: this.#dir },
      );
    }
  }
}

async function inputStates(dir: string, files: readonly string[]): Promise<InputState[]> {
  return await Promise.all(files.map((file) => stat(join(dir, file))));
}

function sumOfSizes(states: readonly InputState[]): number {
  return states.reduce((sum, { size }) => sum + size, 0);
}
