// The steps of a conversion: what is measured and written together, because scales move inside it. In: the plans of two
// graphs. Out: for each file a list of steps, to be taken in order; and the loop that takes them, file by file or as
// the weights come. Reads and writes nothing.

import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import type { StoredTensor } from "../checkpoint/safetensors.ts";
import { EMBED_TOKENS } from "../checkpoint/tensor-names.ts";
import type { InputsInPrecision, QuantizedInput } from "./balance-inputs.ts";
import { quantizedInputs } from "./balance-inputs.ts";
import { embeddingTableBytes } from "./embedding-file.ts";
import type { PlannedGraph } from "./vision-graph.ts";
import type { WeightPlan } from "./weight-plan.ts";

export type StepPart = "vision-encoder" | "decoder" | "embedding-table";

export interface ConversionStep {
  readonly part: StepPart;
  /** Place in its part, from 0; the lines of the plan to write are `stepLines(plan)[index]`. */
  readonly index: number;
  readonly isLast: boolean;
  /** A layer such as `model.language_model.layers.3`; empty for what is in none. */
  readonly unit: string;
  /** What it reads, by canonical name. */
  readonly weights: readonly string[];
  /** Measured before anything of it is written. */
  readonly inputs: readonly QuantizedInput[];
  /** That it writes, nearly. */
  readonly outputBytes: number;
}

/** Files that are written side by side, each from front to back. */
export type ConversionTracks = readonly (readonly ConversionStep[])[];

const UNIT = /^(?:.+\.(?:layers|blocks|deepstack_merger_list)\.\d+|model\.visual\.merger)(?=\.)/;

/** The lines of each step: all of one layer. */
export function stepLines(plan: readonly WeightPlan[]): WeightPlan[][] {
  const steps: WeightPlan[][] = [];
  let before: string | undefined;
  for (const line of plan) {
    const unit = unitOf(sourcesOf(line)[0] ?? "");
    if (unit === before) steps.at(-1)?.push(line);
    else steps.push([line]);
    before = unit;
  }
  return steps;
}

export function conversionTracks(
  checkpoint: Checkpoint,
  { vision, decoder }: { readonly vision: PlannedGraph; readonly decoder: PlannedGraph },
  measured: readonly InputsInPrecision[],
): ConversionTracks {
  const inputs = quantizedInputs(measured);
  const table = checkpoint.tensors.get(EMBED_TOKENS);
  // A run through the decoder begins with the embeddings of some tokens.
  const first = inputs.some(({ input }) => input.origin === undefined) ? [EMBED_TOKENS] : [];
  return [
    stepsOf("vision-encoder", vision, inputs, []),
    stepsOf("decoder", decoder, inputs, first),
    [
      {
        ...{ part: "embedding-table", index: 0, isLast: true, unit: "", inputs: [] },
        weights: [EMBED_TOKENS],
        outputBytes: table === undefined ? 0 : embeddingTableBytes(table),
      },
    ],
  ];
}

function stepsOf(
  part: StepPart,
  { model, plan }: PlannedGraph,
  inputs: readonly QuantizedInput[],
  first: readonly string[],
): ConversionStep[] {
  const steps = stepLines(plan);
  const starts = [...steps.map(([line]) => line?.target.offset ?? 0), model.externalByteLength];
  return steps.map((lines, index) => {
    const sources = lines.flatMap(sourcesOf);
    const unit = unitOf(sources[0] ?? "");
    return {
      part,
      index,
      isLast: index === steps.length - 1,
      unit,
      weights: [...new Set([...(index === 0 ? first : []), ...sources])],
      inputs: inputs.filter(({ input: { readers } }) => sources.includes(readers[0] ?? "")),
      outputBytes: (starts[index + 1] ?? 0) - (starts[index] ?? 0),
    };
  });
}

function sourcesOf(line: WeightPlan): readonly string[] {
  return line.kind === "values" ? [line.source] : line.sources;
}

function unitOf(weight: string): string {
  return UNIT.exec(weight)?.[0] ?? "";
}

/** Where the weights of steps come from. */
export interface WeightStock {
  isHere(tensors: readonly StoredTensor[]): boolean;
  /** Waits for some that are not here; only what is `remaining` is read afterwards. */
  bring(tensors: readonly StoredTensor[], remaining: readonly StoredTensor[]): Promise<void>;
  /** Only these are read from now on. */
  keepOnly(remaining: readonly StoredTensor[]): Promise<void>;
}

/** What waits longest for its weights: a decoder is the largest part, and its layers come in order. */
const BROUGHT_FIRST: readonly StepPart[] = ["decoder", "vision-encoder", "embedding-table"];

/**
 * Takes every step, those of one file in order: first what can be done with the weights that are here.
 *
 * @param stock undefined: all weights are here
 * @param taken steps of each track that were taken before
 */
export async function takeSteps(
  checkpoint: Checkpoint,
  tracks: ConversionTracks,
  take: (step: ConversionStep) => Promise<void>,
  stock?: WeightStock,
  taken: readonly number[] = [],
): Promise<void> {
  const left = tracks.map((steps, track) => steps.slice(taken[track] ?? 0));
  const remaining = () => tensorsOf(checkpoint, left.flat());
  await stock?.keepOnly(remaining());
  for (;;) {
    const next = left.flatMap(([step]) => step ?? []);
    const step = next.find((each) => stock?.isHere(tensorsOf(checkpoint, [each])) ?? true);
    if (step !== undefined) {
      await take(step);
      left.find(([each]) => each === step)?.shift();
      await stock?.keepOnly(remaining());
      continue;
    }
    const wanted = BROUGHT_FIRST.flatMap((part) => next.find((each) => each.part === part) ?? []);
    if (wanted[0] === undefined) return;
    await stock?.bring(tensorsOf(checkpoint, [wanted[0]]), remaining());
  }
}

/** Stored tensors that steps read, each once. */
function tensorsOf({ tensors }: Checkpoint, steps: readonly ConversionStep[]): StoredTensor[] {
  const names = new Set(steps.flatMap(({ weights }) => weights));
  return [...names].flatMap((name) => tensors.get(name)?.parts ?? []);
}
