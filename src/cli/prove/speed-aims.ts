// What a card is to reach, beside what it reached. In: figures of one case. Out: aims, each with the figure and whether it
// was reached. An aim that is missed is reported, and no failure: what is right and robust is proven elsewhere.

import type { ShapeName } from "../bench/shape-names.ts";
import type { Speed } from "./speed.ts";
import type { Steps } from "./speed-cases.ts";

export interface Aim {
  readonly name: string;
  /** What is to be reached, in words. */
  readonly aim: string;
  readonly value: number;
  readonly reached: boolean;
}

export interface AimedAt {
  readonly shape: ShapeName;
  readonly decoder: string;
  readonly steps: Steps;
  /** Name of the card. */
  readonly card: string;
  readonly measured: Speed;
  readonly decodeShare: number | undefined;
  readonly prefillShare: number | undefined;
  readonly batchGain: number | undefined;
}

/** Parts of the time at the memory's speed: of H100s and their like; of cards such as a 4090, which are less in a hurry. */
const DECODE_SHARE = { operators: 0.45, kernels: 0.45, recorded: 0.6, consumer: 0.8 } as const;
const CONSUMER = /\bRTX\b|GeForce/iu;
const FIRST_TOKEN_MS: Partial<Record<ShapeName, number>> = { "2b": 40, "8b": 90 };
const BATCH_GAIN = 12;
const PREFILL_SHARE = 0.4;
const BYTES_DOWN = 4096;
const GAP_MS = 5;

export function aimsOf(of: AimedAt): readonly Aim[] {
  const { shape, decoder, steps, card, measured, decodeShare, prefillShare, batchGain } = of;
  const aims: Aim[] = [];
  const atLeast = (name: string, value: number | undefined, limit: number, unit: "%" | "x") => {
    if (value === undefined) return;
    const shown = unit === "%" ? Math.round(100 * value) : Number(value.toFixed(1));
    const aim = unit === "%" ? `${Math.round(100 * limit)} %` : `${limit}`;
    aims.push({ name, aim: `≥ ${aim}`, value: shown, reached: value >= limit });
  };
  const below = (name: string, value: number | undefined, limit: number, unit: string) => {
    if (value === undefined) return;
    const shown = Number(value.toFixed(1));
    aims.push({ name, aim: `< ${limit} ${unit}`, value: shown, reached: value < limit });
  };
  if (shape === "2b" && decoder === "q4f16") {
    const limit = CONSUMER.test(card) ? DECODE_SHARE.consumer : DECODE_SHARE[steps];
    atLeast("decode of one chat, % of the memory's speed", decodeShare, limit, "%");
  }
  if (measured.decode.at(-1)?.chats === 32) {
    atLeast("tokens of 32 chats over those of one", batchGain, BATCH_GAIN, "x");
  }
  const firstTokenMs = FIRST_TOKEN_MS[shape];
  if (firstTokenMs !== undefined) {
    below("first token of a picture of 512 tokens, ms", measured.firstTokenMs, firstTokenMs, "ms");
  }
  atLeast("prefill of 2048 tokens, % of the matrix peak", prefillShare, PREFILL_SHARE, "%");
  const down = measured.decode.flatMap(({ bytesDown }) => bytesDown ?? []);
  if (down.length > 0) {
    below("bytes to the card in a step", Math.max(...down), BYTES_DOWN, "B");
  }
  below("event loop, ms", measured.gapMs, GAP_MS, "ms");
  return aims;
}

/** A line for people. */
export function describeAim({ name, value, aim, reached }: Aim): string {
  return `${name}: ${value} (${aim}): ${reached ? "达到 · reached" : "未达到 · missed"}`;
}
