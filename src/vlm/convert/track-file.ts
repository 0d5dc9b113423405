// A file of a package that grows step by step. In: the steps' bytes. Out: the file's digest; and between two steps a mark
// from which another process goes on. Knows nothing of what the bytes mean.

import { disk } from "../../disk.ts";
import type { LayerChoice } from "./balance-inputs.ts";
import type { TrackMark } from "./conversion-mark.ts";
import { type FileDigest, HashedFile, type StreamOptions } from "./hashed-file.ts";

export class TrackFile {
  readonly path: string;
  readonly layers: LayerChoice[];
  readonly file: HashedFile;
  /** Taken so far. */
  steps: number;
  #digest: FileDigest | undefined;

  private constructor(path: string, file: HashedFile, steps: number, layers: LayerChoice[]) {
    this.path = path;
    this.file = file;
    this.steps = steps;
    this.layers = layers;
  }

  static async create(path: string, stream: StreamOptions): Promise<TrackFile> {
    await disk.remove(path);
    return new TrackFile(path, await HashedFile.create(path, stream), 0, []);
  }

  /** @returns undefined when the file is not what the mark says */
  static async resume(
    path: string,
    mark: TrackMark,
    stream: StreamOptions,
  ): Promise<TrackFile | undefined> {
    const file = await HashedFile.resume(path, mark, stream);
    return file && new TrackFile(path, file, mark.steps, [...mark.layers]);
  }

  /** Safe after `finish` too. */
  async mark(): Promise<TrackMark> {
    const { bytes, sha256 } = this.#digest ?? (await this.file.mark());
    return { steps: this.steps, bytes, sha256, layers: this.layers };
  }

  async finish(): Promise<FileDigest> {
    this.#digest ??= await this.file.finish();
    return this.#digest;
  }

  async close(): Promise<void> {
    await this.file.close();
  }
}
