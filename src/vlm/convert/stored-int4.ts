// 4-bit weights that go into a package level by level as the checkpoint stores them. In: a checkpoint and the formats of
// a package. Out: for each such weight how MatMulNBits holds its groups, or an error that names what it cannot hold.
// Reads no levels.

import type { Int4Layout, Int4Weight } from "../checkpoint/int4-weight.ts";
import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { ModelLoadError } from "../errors.ts";
import type { PackageFormats } from "./convert-options.ts";
import type { WiderFormats } from "./linear-layers.ts";
import { decoderInputs, type ProductInput } from "./product-inputs.ts";
import { INT4_BLOCK } from "./quantize.ts";

/** How the stored groups of one weight are written. */
export interface StoredBlocks {
  /** Weights per scale, a power of two; a larger group repeats its scale. */
  readonly block: number;
  readonly zeroPoints: boolean;
  /** Columns of the activation in the order of the weights; undefined: as they are. */
  readonly order?: Int32Array | undefined;
}

/** By canonical tensor name. */
export type StoredInt4 = ReadonlyMap<string, StoredBlocks>;

const SMALLEST_BLOCK = 16;

/**
 * The weights of a 4-bit decoder whose levels are kept; none for other precisions, which read numbers.
 *
 * @throws ModelLoadError `model-unsupported` for groups that MatMulNBits cannot hold
 */
export function storedInt4(checkpoint: Checkpoint, formats: PackageFormats): StoredInt4 {
  const stored = new Map<string, StoredBlocks>();
  if (!keepsInt4(formats)) return stored;
  for (const { readers } of decoderInputs(checkpoint.config)) {
    const weights = readers.map((name) => checkpoint.tensors.get(name)?.int4);
    const found = weights.filter((weight) => weight !== undefined);
    const [first] = found;
    if (first === undefined) continue;
    if (found.length < readers.length) {
      const plain = readers[weights.indexOf(undefined)] ?? "";
      throw refused(first, `${plain}, which reads the same, is not in 4 bits`);
    }
    for (const weight of found) assertSameOrder(first, weight);
    const block = Math.min(...found.map(blockOf));
    const zeroPoints = found.some((weight) => weight.hasZeroPoints);
    for (const name of readers) stored.set(name, { block, zeroPoints, order: first.layout.order });
  }
  return stored;
}

/** What the quantiser left in 16 bits is not put into 4 by us: it had its reasons. */
export function widerBesideStored(
  checkpoint: Checkpoint,
  { device }: PackageFormats,
  stored: StoredInt4,
): WiderFormats {
  if (stored.size === 0 || device !== "cpu") return new Map();
  const inputs = decoderInputs(checkpoint.config).slice(0, -1);
  const plain = inputs.flatMap(({ readers }) => readers.filter((name) => !stored.has(name)));
  return new Map(plain.map((name) => [name, "w8a8"]));
}

/** Can nothing be moved into or out of this input, as levels are kept on one side of it? */
export function touchesStored({ readers, makers }: ProductInput, stored: StoredInt4): boolean {
  return [...readers, ...makers.map(({ tensor }) => tensor)].some((name) => stored.has(name));
}

/** A sentence about 4-bit weights that are widened, where there are any. */
export function toldOfInt4(checkpoint: Checkpoint, formats: PackageFormats): readonly string[] {
  const widened = [...checkpoint.tensors].filter(
    ([name, { int4 }]) =>
      int4 !== undefined && !(keepsInt4(formats) && !name.startsWith("model.visual.")),
  );
  const [first] = widened;
  if (first === undefined) return [];
  const { decoder, vision } = formats.precision;
  return [
    `${widened.length} weights are stored in 4 bits (${first[1].quantized}) and are written as numbers in ${decoder} and ` +
      `${vision} (${first[0]}); a decoder of precision q4 keeps its levels as they are.`,
  ];
}

function keepsInt4({ precision }: PackageFormats): boolean {
  return precision.decoder === "q4" || precision.decoder === "q4f16";
}

/** The largest power of two that divides a group; rows of one group have no neighbours to respect. */
function blockOf(weight: Int4Weight): number {
  const { group, columns }: Int4Layout = weight.layout;
  if (group >= columns) return INT4_BLOCK;
  const block = Math.min(INT4_BLOCK, group & -group);
  if (block >= SMALLEST_BLOCK) return block;
  throw refused(weight, `its groups of ${group} are no multiple of ${SMALLEST_BLOCK}`);
}

function assertSameOrder(first: Int4Weight, other: Int4Weight): void {
  const [a, b] = [first.layout.order, other.layout.order];
  if (
    a === b ||
    (a !== undefined && b !== undefined && Buffer.from(a.buffer).equals(Buffer.from(b.buffer)))
  ) {
    return;
  }
  throw refused(
    other,
    `its groups (g_idx, desc_act) are in another order than those of ${first.name}`,
  );
}

function refused(weight: Int4Weight, why: string): ModelLoadError {
  return new ModelLoadError(
    "model-unsupported",
    `The 4-bit weight ${weight.name} (${weight.quantized}) cannot be kept as it is: ${why}. ` +
      "Convert with precision w8a8 or fp32, which read its numbers, or use the bf16 checkpoint.",
  );
}
