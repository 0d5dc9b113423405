// What this CPU needs to multiply int8 weights exactly. Out: settings for every session. It runs a one-node model
// once per process to find out, because CPU features cannot be read portably.

import type { Int8Weights } from "../convert/linear-layers.ts";
import { saturationProbe } from "../convert/saturation-probe.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

let saturates: Promise<boolean> | undefined;

/**
 * Which form of int8 weights a conversion should write for this CPU. Both give the same results everywhere; a CPU whose
 * products overflow loads u8 several times faster, and all others are fastest with s8.
 */
export async function preferredInt8Weights(): Promise<Int8Weights> {
  return (await int8Saturates()) ? "u8" : "s8";
}

/**
 * The options with what exact int8 products need on this CPU.
 *
 * x64 without VNNI adds pairs of products in 16 bits, which overflow; the setting avoids that. Elsewhere it would
 * only make runs slower, so it is set where the probe shows the overflow. It does nothing to other number formats.
 */
export async function withCpuSettings(options: SessionOptions): Promise<SessionOptions> {
  if (!(await int8Saturates())) return options;
  return {
    ...options,
    configEntries: { "session.x64quantprecision": "1", ...options.configEntries },
  };
}

function int8Saturates(): Promise<boolean> {
  saturates ??= probe().catch((error) => {
    saturates = undefined; // a later load tries again
    throw error;
  });
  return saturates;
}

async function probe(): Promise<boolean> {
  const { model, input, inputByte, output, exact } = saturationProbe();
  await using session = await Session.load(model, { threads: 1 });
  const [rows, columns] = output.shape;
  const products = new Float32Array(rows * columns); // (1, columns)
  using bytes = Value.of(
    new Uint8Array(input.shape[0] * input.shape[1]).fill(inputByte),
    input.shape,
  );
  using result = Value.of(products, output.shape);
  await session.run({ [input.name]: bytes }, { [output.name]: result });
  return products[0] !== exact;
}
