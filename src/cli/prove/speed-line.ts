// Figures of speed as a line for people: what was left out is named, and what nobody counted is not there.

import type { DecodeSpeed, Speed } from "./speed.ts";

export interface SpeedShares {
  /** Time of a decode step at the memory roofline over the measured one, for one chat; undefined without a roofline. */
  readonly decodeShare: number | undefined;
  /** Products of the long prompt over the matrix roofline. */
  readonly prefillShare: number | undefined;
  /** Tokens of the most chats over those of one; undefined when either was left out. */
  readonly batchGain: number | undefined;
}

export function describeSpeed(measured: Speed, shares: SpeedShares): string {
  const { promptTokens, prefillMs, pictureTokens, visionMs, firstTokenMs, memory } = measured;
  const { leftOut, noRoom, firstRuns } = measured;
  const pictures = [
    visionMs !== undefined && `picture of ${pictureTokens} tokens ${visionMs.toFixed(1)} ms`,
    firstTokenMs !== undefined && `first token ${firstTokenMs.toFixed(1)} ms`,
  ];
  const parts = [
    ...measured.decode.map((one) => describeDecode(one, shares.decodeShare)),
    shares.batchGain !== undefined && `${shares.batchGain.toFixed(1)} times the tokens of one`,
    prefillMs !== undefined &&
      `prefill ${promptTokens} ${prefillMs.toFixed(1)} ms${part(shares.prefillShare, "the matrix peak")}`,
    pictures.filter(Boolean).join(", "),
    measured.decode.length > 0 && `event loop ${measured.gapMs.toFixed(1)} ms`,
    `load ${(measured.loadMs / 1000).toFixed(1)} s`,
    memory && `${memory.mebibytes} MiB ${memory.of}`,
    firstRuns.length > 0 && `a first run only, shaders and all: ${firstRuns.join(", ")}`,
    leftOut.length > 0 && `left out, for want of time: ${leftOut.join(", ")}`,
    noRoom.length > 0 && `left out, for want of memory: ${noRoom.join(", ")}`,
  ];
  return parts.filter(Boolean).join("; ");
}

export function chatsInWords(chats: number): string {
  return chats === 1 ? "one chat" : `${chats} chats`;
}

/** Two digits of what is small: a step of three seconds is 0.30 tokens a second, and not none. */
export function perSecond(tokens: number): string {
  return tokens >= 10 ? tokens.toFixed(0) : tokens.toPrecision(2);
}

function describeDecode(
  { chats, stepMs, tokensPerSecond, bytesDown, bytesUp }: DecodeSpeed,
  share: number | undefined,
): string {
  const bus =
    bytesDown === undefined || bytesUp === undefined
      ? ""
      : `, ${bytesDown} B to the card, ${bytesUp} B back`;
  const reached = chats === 1 ? part(share, "the memory's speed") : "";
  return `decode of ${chatsInWords(chats)} ${stepMs.toFixed(2)} ms = ${perSecond(tokensPerSecond)} tok/s${reached}${bus}`;
}

function part(value: number | undefined, of: string): string {
  return value === undefined ? "" : ` (${perSecond(100 * value)} % of ${of})`;
}
