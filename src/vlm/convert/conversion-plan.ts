// What a conversion will write, before a weight is read. In: an open checkpoint and the formats asked for. Out: the two
// graphs, the steps, and how many bytes all of it takes. Reads no weights.

import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import { balanceBytes, quantizedInputs } from "./balance-inputs.ts";
import type { CacheFormat } from "./cached-attention.ts";
import { type ConversionTracks, conversionTracks } from "./conversion-steps.ts";
import type { PackageFormats } from "./convert-options.ts";
import { embeddingTableBytes } from "./embedding-file.ts";
import type { Int8Weights, WiderFormats } from "./linear-layers.ts";
import { measuredInputs } from "./measured-inputs.ts";
import { packageGraphs } from "./package-graphs.ts";
import { type StoredInt4, storedInt4, widerBesideStored } from "./stored-int4.ts";
import type { PlannedGraph } from "./vision-graph.ts";

/** Graphs without their weights, and the manifest. */
export const SMALL_FILES_BYTES = 4 * 2 ** 20;

export interface PlannedGraphs {
  readonly vision: PlannedGraph;
  readonly decoder: PlannedGraph;
}

export class ConversionPlan {
  readonly checkpoint: Checkpoint;
  readonly formats: PackageFormats;
  readonly int8Weights: Int8Weights;
  readonly stored: StoredInt4;
  readonly tracks: ConversionTracks;
  /** Read while inputs are measured, nearly. */
  readonly balanceBytes: number;

  /** @throws ModelLoadError for stored levels that the package cannot hold */
  constructor(checkpoint: Checkpoint, formats: PackageFormats, int8Weights: Int8Weights = "s8") {
    this.checkpoint = checkpoint;
    this.formats = formats;
    this.int8Weights = int8Weights;
    this.stored = storedInt4(checkpoint, formats);
    const measured = measuredInputs(checkpoint.config, formats, this.stored);
    this.tracks = conversionTracks(checkpoint, this.graphs(), measured);
    this.balanceBytes = balanceBytes(checkpoint, quantizedInputs(measured));
  }

  /** @param wider what was measured so far; the lines before a weight do not depend on it */
  graphs(wider?: WiderFormats, cache?: CacheFormat): PlannedGraphs {
    const { precision, device } = this.formats;
    const besides = widerBesideStored(this.checkpoint, this.formats, this.stored);
    return packageGraphs(this.checkpoint.config, precision, device, {
      int8Weights: this.int8Weights,
      wider: new Map([...besides, ...(wider ?? [])]),
      stored: this.stored,
      cache,
    });
  }

  /** Of the graphs' weights and the table. */
  outputBytes({ vision, decoder }: PlannedGraphs = this.graphs()): number {
    const table = this.checkpoint.tensors.get(EMBED_TOKENS);
    const tableBytes = table === undefined ? 0 : embeddingTableBytes(table);
    return vision.model.externalByteLength + decoder.model.externalByteLength + tableBytes;
  }
}
