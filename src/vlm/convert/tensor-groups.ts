// What a manifest says of the formats of a package's tensors. In: precisions and a device. Out: a line for each group.

import { headPrecision } from "./decoder-graph.ts";
import type { ProductPrecision } from "./linear-layers.ts";
import type { PackageManifest } from "./manifest.ts";
import { isDevicePrecision, type PackageDevice, runsAsOnCard } from "./package-graphs.ts";
import { DEVICE_BLOCK, INT4_BLOCK } from "./quantize.ts";

/**
 * @param embedTokens format of the embedding table as it is stored
 * @param stored who packed the 4-bit levels that are kept, if any are
 */
export function tensorGroups(
  { decoder, vision }: PackageManifest["precision"],
  device: PackageDevice,
  embedTokens: string,
  stored: string | undefined,
): Record<string, string> {
  const fourBits = `int4 per block of ${device === "webgpu" ? DEVICE_BLOCK : INT4_BLOCK}`;
  const formats: Record<ProductPrecision, string> = {
    fp32: "f32",
    fp16: "f16",
    bf16: "bf16",
    w8a8: "int8 per output channel, activations uint8 per token",
    q4: device === "cpu" ? `${fourBits}, activations int8` : fourBits,
    q4f32: `int4 per block of ${DEVICE_BLOCK}`,
    q4f16: `int4 per block of ${DEVICE_BLOCK}, activations f16`,
    w8a16: `int8 per block of ${DEVICE_BLOCK}, activations f16`,
    q8: `int8 per block of ${DEVICE_BLOCK}`,
    q8f16: `int8 per block of ${DEVICE_BLOCK}, activations f16`,
  };
  return {
    "vision linear layers": formats[vision],
    "vision patch embedding, position table, norms": "f32",
    "decoder linear layers":
      stored === undefined ? formats[decoder] : `int4 as stored by ${stored}, its own groups`,
    "decoder head": formats[headPrecision(decoder, device === "webgpu")],
    "decoder norms": isDevicePrecision(decoder) ? "f16" : "f32",
    "embedding table": runsAsOnCard(decoder, device) ? "f16 in the graph" : embedTokens,
  };
}
