// What this CPU needs to multiply int8 weights exactly. Out: settings for every session. It runs a one-node model
// once per process to find out, because CPU features cannot be read portably.

import type { Int8Weights } from "../convert/linear-layers.ts";
import { saturationProbe } from "../convert/saturation-probe.ts";
import { ModelLoadError } from "../errors.ts";
import { loadOrt } from "../runtime/ort.ts";
import { Session, type SessionOptions } from "../runtime/session.ts";
import { Value } from "../runtime/value.ts";

interface Int8Products {
  /** Full-range weights overflow. */
  readonly saturate: boolean;
  /** Paired weights do not. */
  readonly pairsAreExact: boolean;
}

/** The setting makes it end the process where a product has no bias. */
const ABORTS_WITH_SETTING = "1.29.0";

let products: Promise<Int8Products> | undefined;

/**
 * Which form of int8 weights a conversion should write for this CPU. A CPU whose products overflow is fastest with
 * paired weights, and all others with s8.
 */
export async function preferredInt8Weights(): Promise<Int8Weights> {
  const { saturate, pairsAreExact } = await int8Products();
  if (!saturate) return "s8";
  return pairsAreExact ? "s8-paired" : "u8";
}

/**
 * The options with what exact int8 products need on this CPU.
 *
 * x64 without VNNI adds pairs of products in 16 bits, which overflow; the setting avoids that. Elsewhere it would
 * only make runs slower, so it is set where a probe of this form of weights shows the overflow.
 *
 * @param form of the graph's int8 weights
 * @throws ModelLoadError `model-unsupported` where this ONNX Runtime cannot do that
 */
export async function withCpuSettings(
  options: SessionOptions,
  form: Int8Weights = "s8",
): Promise<SessionOptions> {
  const { saturate, pairsAreExact } = await int8Products();
  if (form === "u8" || !saturate || (form === "s8-paired" && pairsAreExact)) return options;
  if (loadOrt().version === ABORTS_WITH_SETTING) {
    throw new ModelLoadError(
      "model-unsupported",
      `On this CPU, ONNX Runtime ${ABORTS_WITH_SETTING} cannot load int8 weights in the form of this package. ` +
        "Convert the checkpoint on this machine, or leave NAPCAT_VLM_ORT out.",
    );
  }
  return {
    ...options,
    configEntries: { "session.x64quantprecision": "1", ...options.configEntries },
  };
}

function int8Products(): Promise<Int8Products> {
  products ??= probeProducts().catch((error) => {
    products = undefined; // a later load tries again
    throw error;
  });
  return products;
}

async function probeProducts(): Promise<Int8Products> {
  const saturate = !(await isExact("full-range"));
  return { saturate, pairsAreExact: await isExact("paired") };
}

async function isExact(kind: "full-range" | "paired"): Promise<boolean> {
  const { model, input, inputByte, output, exact } = saturationProbe(kind);
  await using session = await Session.load(model, { threads: 1 });
  const [rows, columns] = output.shape;
  const products = new Float32Array(rows * columns); // (1, columns)
  using bytes = Value.of(
    new Uint8Array(input.shape[0] * input.shape[1]).fill(inputByte),
    input.shape,
  );
  using result = Value.of(products, output.shape);
  await session.run({ [input.name]: bytes }, { [output.name]: result });
  return products[0] === exact;
}
