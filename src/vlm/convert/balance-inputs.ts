// Makes quantised products robust against channels that are much larger than the others, without data: how much of a
// channel's size moves from the input into the weight is tried out on made-up inputs, and the best is taken; a
// product that still loses too much stays in a wider format. In: a checkpoint and inputs of its products, layer by layer.
// Out: the moves, the formats that differ, and a line for each input. Memory: one input and some rows of its readers.

import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { TimeSlice } from "../event-loop/time-slice.ts";
import type { PseudoInput } from "./decoder-run.ts";
import type { StreamOptions } from "./hashed-file.ts";
import { type Matrix, productError } from "./layer-errors.ts";
import type { CpuPrecision as Precision } from "./linear-layers.ts";
import { originWeights, type ProductInput } from "./product-inputs.ts";
import { PSEUDO_TOKENS, pseudoActivations } from "./pseudo-activations.ts";
import { RowReader } from "./row-reader.ts";
import { ScaleMoves } from "./scale-moves.ts";

/** What was chosen for one input and all products that read it. */
export interface LayerChoice {
  readonly name: string;
  readonly precision: Precision;
  /** Relative error of the products on made-up inputs, as converted. */
  readonly error: number;
  /** The same without any move and in the format that was asked for. */
  readonly plainError: number;
  /** The share of the imbalance that moved into the weight; 0: none. */
  readonly moved: number;
}

/** Shares of the imbalance to try; one half is the least sum of both errors where nothing stands out. */
const SHARES = [0.25, 0.5, 0.75, 1];
/** A move has to leave this much less error, or everything stays as it is stored. */
const WORTH_MOVING = 0.95;
/** A move that also makes small channels larger has to be this much better than one that does not: channels that were
 * small in the few made-up rows may be large in others. */
const WORTH_BOTH_WAYS = 0.8;
/** Below this an input whose values are guessed stays as it is stored. */
const ORDINARY_ERRORS: Readonly<Record<Precision, number>> = { q4: 0.15, w8a8: 0.05, fp32: 1 };
/** Rows of each weight that are looked at, in runs of neighbours. */
const SAMPLE_RUNS = 8;
const RUN_ROWS = 8;
/** No factor beyond 2^20: nothing trained needs it, and f32 stays far from its ends. */
const LARGEST_EXPONENT = 20;

/** Errors that are out of line; trained layers are at 0.01 to 0.03 in int8 and at 0.1 in 4 bits. */
const ERROR_LIMITS: Readonly<Record<Precision, number>> = { q4: 0.25, w8a8: 0.06, fp32: 1 };
const WIDER: Readonly<Record<Precision, Precision>> = { q4: "w8a8", w8a8: "fp32", fp32: "fp32" };

export interface InputsInPrecision {
  readonly precision: Precision;
  readonly inputs: readonly ProductInput[];
}

export interface QuantizedInput {
  readonly input: ProductInput;
  readonly precision: Precision;
}

/** The inputs of products that round what they read, one by one. */
export function quantizedInputs(graphs: readonly InputsInPrecision[]): QuantizedInput[] {
  return graphs
    .filter(({ precision }) => precision !== "fp32")
    .flatMap(({ precision, inputs }) => inputs.map((input) => ({ input, precision })));
}

/** Bytes that measuring these inputs reads, nearly: what `onBytes` is told of, altogether. */
export function balanceBytes(
  { tensors }: Checkpoint,
  inputs: readonly Pick<QuantizedInput, "input">[],
): number {
  return inputs
    .flatMap(({ input: { origin, readers } }) =>
      origin === undefined ? readers : originWeights(origin),
    )
    .reduce((sum, name) => sum + (tensors.get(name)?.byteLength ?? 0), 0);
}

/** Measures and decides, input by input; everything that was decided before counts for what is read later. */
export class InputBalance {
  readonly moves = new ScaleMoves();
  /** By weight, where it is not the format that was asked for. */
  readonly wider = new Map<string, Precision>();
  readonly #checkpoint: Checkpoint;
  readonly #reader: RowReader;
  readonly #stream: StreamOptions;

  constructor(checkpoint: Checkpoint, stream: StreamOptions = {}) {
    this.#checkpoint = checkpoint;
    this.#reader = new RowReader(checkpoint);
    this.#stream = stream;
  }

  /** Inputs whose values are guessed from where they come, as in the vision encoder. @throws the signal's reason */
  async *guessed(inputs: readonly QuantizedInput[]): AsyncGenerator<LayerChoice> {
    for (const each of inputs) {
      const { origin, columns } = each.input;
      if (origin === undefined) continue;
      const values = await pseudoActivations(this.#reader, each.input, origin);
      yield await this.#decide(each, { values, rows: PSEUDO_TOKENS, columns });
    }
  }

  /** Inputs whose values a run shows; what nobody asks about is run through. @throws the signal's reason */
  async *shown(
    inputs: readonly QuantizedInput[],
    run: AsyncIterable<PseudoInput>,
  ): AsyncGenerator<LayerChoice> {
    for await (const { name, values } of run) {
      const found = inputs.find(({ input }) => input.name === name);
      if (found !== undefined) yield await this.#decide(found, values);
    }
  }

  async #decide(quantized: QuantizedInput, values: Matrix): Promise<LayerChoice> {
    this.#stream.signal?.throwIfAborted();
    const { input, precision } = quantized;
    const trial = new Trial(values, await sampleRows(this.#reader, input), input);
    const choice = await chooseMove(trial, input, precision);
    if (choice.factors !== undefined) move(this.moves, this.#reader, input, choice.factors);
    const layer = await chooseWidth(trial, choice, input, precision);
    if (layer.precision !== precision) {
      for (const weight of input.readers) this.wider.set(weight, layer.precision);
    }
    this.#stream.onBytes?.(balanceBytes(this.#checkpoint, [quantized]));
    return layer;
  }
}

interface Choice {
  readonly share: number;
  /** By channel; undefined when nothing moves. */
  readonly factors: Float32Array | undefined;
  readonly error: number;
  readonly plainError: number;
}

async function chooseMove(
  trial: Trial,
  input: ProductInput,
  precision: Precision,
): Promise<Choice> {
  const plainError = await trial.error(undefined, precision);
  let best: Choice = { share: 0, factors: undefined, error: plainError, plainError };
  // A guess tells ordinary channels apart badly; a run does not.
  const ordinary = input.origin !== undefined && plainError < ORDINARY_ERRORS[precision];
  if (input.makers.length === 0 || ordinary) return best;
  for (const [bothWays, worth] of [
    [false, WORTH_MOVING],
    [true, WORTH_BOTH_WAYS],
  ] as const) {
    const limit = best.error * worth;
    for (const share of SHARES) {
      const factors = trial.factors(share, bothWays);
      const error = await trial.error(factors, precision);
      if (error < best.error && error < limit) best = { share, factors, error, plainError };
    }
  }
  return best;
}

async function chooseWidth(
  trial: Trial,
  choice: Choice,
  input: ProductInput,
  asked: Precision,
): Promise<LayerChoice> {
  let precision = asked;
  let { error } = choice;
  while (error > ERROR_LIMITS[precision]) {
    precision = WIDER[precision];
    error = await trial.error(choice.factors, precision);
  }
  return {
    name: input.name,
    precision,
    error: short(error),
    plainError: short(choice.plainError),
    moved: choice.share,
  };
}

function move(
  moves: ScaleMoves,
  reader: RowReader,
  { makers, readers, columns, channelOf = (column) => column }: ProductInput,
  factors: Float32Array,
): void {
  const byColumn = Float32Array.from({ length: columns }, (_, c) => factors[channelOf(c)] ?? 1);
  for (const { tensor, firstRow } of makers) {
    moves.divideRows(tensor, reader.rows(tensor), firstRow, factors);
  }
  for (const tensor of readers) moves.multiplyColumns(tensor, byColumn);
}

/** One input with samples of the weights that read it, to try moves on. */
class Trial {
  readonly #input: Matrix;
  readonly #weight: Matrix;
  readonly #channelOf: (column: number) => number;
  /** Root mean square by channel; of weights with each row in its own measure, as each has its own scale. */
  readonly #inputSizes: Float64Array;
  readonly #weightSizes: Float64Array;
  readonly #slice = new TimeSlice();

  constructor(input: Matrix, weight: Matrix, { channels, channelOf }: ProductInput) {
    this.#input = input;
    this.#weight = weight;
    this.#channelOf = channelOf ?? ((column) => column);
    this.#inputSizes = channelSizes(input, channels, this.#channelOf, false);
    this.#weightSizes = channelSizes(weight, channels, this.#channelOf, true);
  }

  async error(factors: Float32Array | undefined, precision: Precision): Promise<number> {
    const byColumn =
      factors &&
      Float64Array.from(
        { length: this.#input.columns },
        (_, column) => factors[this.#channelOf(column)] as number,
      );
    return productError(this.#input, this.#weight, precision, byColumn, this.#slice);
  }

  /** Powers of two, one for each channel: what its input is divided by and its weights are multiplied by. */
  factors(share: number, bothWays: boolean): Float32Array {
    const isDead = (channel: number) =>
      this.#inputSizes[channel] === 0 || this.#weightSizes[channel] === 0;
    const exponents = this.#inputSizes.map((size, channel) =>
      isDead(channel)
        ? 0
        : share * Math.log2(size) - (1 - share) * Math.log2(this.#weightSizes[channel] as number),
    );
    // Around the middle, so that what is ordinary stays where it is.
    const middle = exponents.toSorted()[exponents.length >> 1] ?? 0;
    return Float32Array.from(exponents, (exponent, channel) => {
      if (isDead(channel)) return 1;
      const whole = Math.round(exponent - middle);
      return 2 ** Math.max(bothWays ? -LARGEST_EXPONENT : 0, Math.min(LARGEST_EXPONENT, whole));
    });
  }
}

function channelSizes(
  { values, rows, columns }: Matrix,
  channels: number,
  channelOf: (column: number) => number,
  byRow: boolean,
): Float64Array {
  const byColumn = new Float64Array(columns);
  for (let start = 0; start < rows * columns; start += columns) {
    let energy = byRow ? 0 : 1;
    for (let i = start; byRow && i < start + columns; i++) {
      energy += (values[i] as number) * (values[i] as number);
    }
    const inverse = energy > 0 ? 1 / energy : 0;
    for (let column = 0; column < columns; column++) {
      const value = values[start + column] as number;
      byColumn[column] = (byColumn[column] as number) + value * value * inverse;
    }
  }
  const sums = new Float64Array(channels);
  byColumn.forEach((sum, column) => {
    const channel = channelOf(column);
    sums[channel] = (sums[channel] as number) + sum;
  });
  return sums.map(Math.sqrt);
}

/** Some rows of every reader, one below the other. */
async function sampleRows(reader: RowReader, { readers, columns }: ProductInput): Promise<Matrix> {
  const runs: Float32Array[] = [];
  for (const tensor of readers) {
    const rows = reader.rows(tensor);
    const count = Math.min(SAMPLE_RUNS, Math.ceil(rows / RUN_ROWS));
    for (let run = 0; run < count; run++) {
      const first = Math.floor((run * rows) / count);
      const taken = Math.min(RUN_ROWS, rows - first);
      runs.push((await reader.read(tensor, first, taken)).slice());
    }
  }
  const values = new Float32Array(runs.reduce((sum, run) => sum + run.length, 0));
  let end = 0;
  for (const run of runs) {
    values.set(run, end);
    end += run.length;
  }
  return { values, rows: values.length / columns, columns };
}

/** Three digits: enough to judge by, and the same on every machine. */
function short(error: number): number {
  return Number(error.toPrecision(3));
}
