// What a step measures before it writes. In: steps in their order. Out: a choice for each input of its products, and the
// moves and formats that follow. The decoder's run goes on from layer to layer, and from process to process.

import type { Checkpoint } from "../checkpoint/open-checkpoint.ts";
import { InputBalance, type LayerChoice } from "./balance-inputs.ts";
import { type ConversionMark, floatsFromBase64, floatsInBase64 } from "./conversion-mark.ts";
import type { ConversionStep, ConversionTracks } from "./conversion-steps.ts";
import { DecoderRun } from "./decoder-run.ts";
import type { StreamOptions } from "./hashed-file.ts";
import { RowReader } from "./row-reader.ts";

type Measured = Pick<ConversionMark, "wider" | "run">;

export class StepMeasures {
  readonly balance: InputBalance;
  readonly #checkpoint: Checkpoint;
  /** Does anything of the decoder round what it reads? */
  readonly #runsDecoder: boolean;
  #run: DecoderRun | undefined;

  /** @param before what an earlier process measured */
  constructor(
    checkpoint: Checkpoint,
    tracks: ConversionTracks,
    stream: StreamOptions,
    before?: Measured,
  ) {
    this.#checkpoint = checkpoint;
    this.balance = new InputBalance(checkpoint, stream);
    this.#runsDecoder = tracks
      .flat()
      .some(({ inputs }) => inputs.some(({ input }) => input.origin === undefined));
    for (const [weight, precision] of before?.wider ?? []) {
      this.balance.wider.set(weight, precision);
    }
    if (before?.run === undefined) return;
    const values = floatsFromBase64(before.run);
    this.#run = DecoderRun.resume(new RowReader(checkpoint), checkpoint.config, values);
  }

  async measure({ part, unit, inputs }: ConversionStep): Promise<LayerChoice[]> {
    if (part === "vision-encoder") return all(this.balance.guessed(inputs));
    if (part !== "decoder" || !this.#runsDecoder) return [];
    const { config } = this.#checkpoint;
    this.#run ??= await DecoderRun.begin(new RowReader(this.#checkpoint), config);
    const layer = /\.(\d+)$/.exec(unit)?.[1];
    const shown = layer === undefined ? this.#run.end() : this.#run.layer(Number(layer));
    return all(this.balance.shown(inputs, shown));
  }

  /** For the process that goes on. */
  get mark(): Measured {
    const wider = [...this.balance.wider];
    return { wider, ...(this.#run && { run: floatsInBase64(this.#run.values) }) };
  }
}

async function all<T>(generated: AsyncGenerator<T>): Promise<T[]> {
  const found: T[] = [];
  for await (const each of generated) found.push(each);
  return found;
}
