// How this machine is best kept busy: tokens of a prompt in one run, answers written at once, and what checking guesses
// costs. In: a profile, and the sizes of a model. Out: numbers to begin with; runs measure themselves from then on.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { CPU_PRECISIONS } from "../convert/linear-layers.ts";
import type { PackageManifest } from "../convert/manifest.ts";
import { decoderWeights } from "./decoder-weights.ts";
import { type MachineProfile, manyRowsSpeed } from "./machine-profile.ts";
import type { ProductSpeed } from "./product-speed.ts";

export interface RunChoices {
  /** Most tokens of a prompt in one run. */
  readonly chunkTokens: number;
  /** Most answers written at once, when nobody says how many; memory may hold fewer. */
  readonly mostConcurrent: number;
  /** What a run of one more row costs, as a share of a run of one. */
  readonly costOfRow: number;
}

/** Where nothing was measured: as on plain AVX2, and on graphics cards. */
export const USUAL_RUNS: RunChoices = { chunkTokens: 256, mostConcurrent: 8, costOfRow: 0.3 };

/** Longer runs are no faster for each token. */
const [FEWEST_TOKENS, MOST_TOKENS] = [64, 256];
/** Nobody else's prompt begins while a run lasts. */
const LONGEST_RUN_MS = 3000;
const [FEWEST_CHATS, MOST_CHATS] = [4, 8];
/** Each answer should get a few words a second. */
const LONGEST_STEP_MS = 500;
/** What products take of a run. */
const PRODUCT_SHARE = 0.8;
const SPECULATED_ROWS = 8;

export function chooseRuns(
  profile: MachineProfile,
  config: Qwen3VlConfig,
  decoder: PackageManifest["precision"]["decoder"],
): RunChoices {
  const precision = CPU_PRECISIONS.find((known) => known === decoder) ?? "fp32";
  const products = profile.products.filter((product) => product.precision === precision);
  const operations = 2 * decoderWeights(config);
  const tokenMs = operations / (manyRowsSpeed(profile, precision) * PRODUCT_SHARE * 1e6);
  const fitting = Math.floor(LONGEST_RUN_MS / tokenMs / FEWEST_TOKENS) * FEWEST_TOKENS;
  const stepMs = (rows: number) => (operations * runTime(products, rows)) / (PRODUCT_SHARE * 1e6);
  let mostConcurrent = MOST_CHATS;
  while (mostConcurrent > FEWEST_CHATS && stepMs(mostConcurrent) > LONGEST_STEP_MS) {
    mostConcurrent--;
  }
  const one = runTime(products, 1);
  const ofRow = (runTime(products, SPECULATED_ROWS) - one) / one / (SPECULATED_ROWS - 1);
  return {
    chunkTokens: Math.min(MOST_TOKENS, Math.max(FEWEST_TOKENS, fitting)),
    mostConcurrent,
    costOfRow: Math.max(0, ofRow),
  };
}

/** Of so many rows, in seconds for 10^9 operations of one row: between two measured numbers of rows on a straight line. */
function runTime(products: readonly ProductSpeed[], rows: number): number {
  const times = products
    .map((product) => ({ rows: product.rows, time: product.rows / product.gigaOps }))
    .toSorted((a, b) => a.rows - b.rows);
  const above = times.find((known) => known.rows >= rows) ?? times.at(-1)!;
  const below = times.findLast((known) => known.rows <= rows) ?? above;
  if (above.rows === below.rows) return below.time;
  const share = (rows - below.rows) / (above.rows - below.rows);
  return below.time + share * (above.time - below.time);
}
