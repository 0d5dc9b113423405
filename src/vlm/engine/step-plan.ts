// How the work of a step is shared out among the threads of a card, for one model and one number of chats. In: sizes, and
// what the card has. Out: the names in capitals of step-kernels.cu, and how its kernels are launched.

import type { TextConfig } from "../checkpoint/config.ts";
import { CANDIDATES } from "../convert/candidate-search.ts";
import type { CardLimits } from "../runtime/cuda-kernels.ts";
import type { NamedValues } from "../runtime/session.ts";

/** What a step is computed with. */
export interface StepWeights {
  readonly values: NamedValues;
  /** Of the products of layers, and of the head. */
  readonly bits: { readonly layers: 4 | 8; readonly head: 4 | 8 };
}

/** Parts of the tokens of a chat that blocks share out, at most. */
export const MOST_PARTS = 16;
/** Parts of the vocabulary. */
export const SEARCH_PARTS = 64;
export const WARP = 32;
export const MIX_WARPS = 8;
export const SEARCH_THREADS = 512;
/** Of a block of a product; those that widen 8 bits need more registers each. */
const MOST_WARPS = { 4: 24, 8: 16 } as const;
/** Rows of weights in a tile. */
const TILE = 16;
/** Columns that a warp takes at once. */
const SPAN = 128;
/** Chats that the matrix units take at once. */
const CHATS_AT_ONCE = 8;
/** Tiles that a block takes at once: more would leave a warp too many columns. */
const MOST_TILES = { 4: 6, 8: 4 } as const;
/** What kernels declare besides sums. */
const SPARE_BYTES = 1024;

/** Chats of a step; numbers in between take the next larger form, with rows that nobody is in. */
const FORMS = [1, 4, 8, 16];

/** The kernels do not fit this card. */
export class StepPlanError extends Error {
  override readonly name = "StepPlanError";
}

/**
 * The forms that a card gets, ascending: where a multiprocessor has no room for so many chats, for as many as it has room
 * for.
 *
 * @param mostChats that ever take a step together: what only more would need is left out
 * @throws StepPlanError where there is none for one
 */
export function planSteps(
  text: TextConfig,
  bits: StepWeights["bits"],
  limits: CardLimits,
  mostChats: number,
): readonly StepPlan[] {
  const plans = FORMS.flatMap((most, index) => {
    const smaller = FORMS[index - 1] ?? 0;
    for (let rows = most; rows > smaller && smaller < mostChats; rows--) {
      const plan = new StepPlan(text, bits, rows, limits);
      if (plan.fits) return [plan];
    }
    return [];
  });
  if (plans.length > 0) return plans;
  const room = Math.floor(limits.sharedBytes / 1024);
  throw new StepPlanError(
    `a block of threads has ${room} KiB on this card, which is too little for layers of ${text.intermediateSize} columns`,
  );
}

/** The products of a step, by their names in step-kernels.cu. */
export type ProductName = "project" | "mixed" | "gate" | "inner" | "head";

/** How many tiles of rows a block of a product takes at once, and by how many warps each. */
export interface ProductPlan {
  readonly tiles: number;
  readonly slices: number;
  readonly blocks: number;
  readonly threads: number;
  /** Memory of a block for activations. */
  readonly sharedBytes: number;
}

interface ProductSizes {
  readonly rows: number;
  readonly columns: number;
  readonly bits: 4 | 8;
}

/** One form of the kernels. */
export class StepPlan {
  readonly rows: number;
  readonly layers: number;
  readonly kvHeads: number;
  /** Parts of the tokens of a chat, each a block's. */
  readonly parts: number;
  readonly products: Readonly<Record<ProductName, ProductPlan>>;
  /** Names in capitals of step-kernels.cu. */
  readonly constants: Readonly<Record<string, string | number>>;
  /** Has a multiprocessor as much memory as each kernel wants? */
  readonly fits: boolean;

  constructor(text: TextConfig, bits: StepWeights["bits"], rows: number, limits: CardLimits) {
    const { hiddenSize, intermediateSize, heads, kvHeads, headSize, vocabSize } = text;
    const width = heads * headSize;
    const sizes = {
      project: { rows: width + 2 * kvHeads * headSize, columns: hiddenSize, bits: bits.layers },
      mixed: { rows: hiddenSize, columns: width, bits: bits.layers },
      gate: { rows: 2 * intermediateSize, columns: hiddenSize, bits: bits.layers },
      inner: { rows: hiddenSize, columns: intermediateSize, bits: bits.layers },
      head: { rows: vocabSize, columns: hiddenSize, bits: bits.head },
    };
    const plan = (of: ProductSizes) => planProduct(of, rows, limits);
    this.products = {
      project: plan(sizes.project),
      mixed: plan(sizes.mixed),
      gate: plan(sizes.gate),
      inner: plan(sizes.inner),
      head: plan(sizes.head),
    };
    const sums = MOST_WARPS[4] * TILE * wholeLots(rows) * 4;
    this.fits = Object.values(this.products).every(
      ({ sharedBytes }) => sharedBytes + sums + SPARE_BYTES <= limits.sharedBytes,
    );
    this.rows = rows;
    this.layers = text.layers;
    this.kvHeads = kvHeads;
    this.parts = Math.min(MOST_PARTS, Math.ceil(limits.multiprocessors / (kvHeads * rows)));
    this.constants = {
      ROWS: rows,
      MIX_WARPS,
      HIDDEN: hiddenSize,
      INNER: intermediateSize,
      HEADS: heads,
      KV_HEADS: kvHeads,
      HEAD_DIM: headSize,
      VOCABULARY: vocabSize,
      EPSILON: `${text.rmsNormEps.toExponential()}f`,
      LAYER_BITS: bits.layers,
      HEAD_BITS: bits.head,
      ...productConstants(this.products),
      PARTS: this.parts,
      SEARCH_PARTS,
      SEARCH_THREADS,
      CANDIDATES,
    };
  }
}

/** All multiprocessors have work, and all warps of each; a warp has whole spans. */
function planProduct(
  { rows: rowsOfWeights, columns, bits }: ProductSizes,
  chats: number,
  { multiprocessors }: CardLimits,
): ProductPlan {
  const total = Math.ceil(rowsOfWeights / TILE);
  const spans = Math.ceil(columns / SPAN);
  const tiles = Math.min(MOST_TILES[bits], Math.ceil(total / multiprocessors));
  const most = Math.min(spans, Math.floor(MOST_WARPS[bits] / tiles));
  const slices = Math.ceil(spans / Math.ceil(spans / most));
  return {
    tiles,
    slices,
    blocks: Math.min(Math.ceil(total / tiles), multiprocessors),
    threads: tiles * slices * WARP,
    sharedBytes: activationBytes(columns, chats),
  };
}

function productConstants(products: StepPlan["products"]) {
  return Object.fromEntries(
    Object.entries(products).flatMap(([name, { tiles, slices }]) => [
      [`${name.toUpperCase()}_TILES`, tiles],
      [`${name.toUpperCase()}_SLICES`, slices],
    ]),
  );
}

/**
 * Activations of so many columns: rows are padded, so that threads read from different banks, and where chats are more than
 * the matrix units take at once, each lot of them has room for a whole one.
 */
function activationBytes(columns: number, chats: number): number {
  const blocks = columns / 32;
  const rows = chats > CHATS_AT_ONCE ? wholeLots(chats) : chats;
  return rows * 64 * (blocks + ((12 - (blocks % 8)) % 8));
}

function wholeLots(chats: number): number {
  return Math.ceil(chats / CHATS_AT_ONCE) * CHATS_AT_ONCE;
}

/** What the kernel of attention declares: queries, the new key, and what each warp found. */
export function sharedBytesOfMix(group: number, headSize: number): number {
  return 4 * ((1 + MIX_WARPS) * group * headSize + headSize + 2 * MIX_WARPS * group) + 4;
}
