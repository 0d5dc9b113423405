// What a conversion chose for the layers, in one clause. In: the manifest's list. Out: how many scales were moved, and
// which layers stay wider than the others.

import type { LayerChoice } from "../../vlm/convert/balance-inputs.ts";
import type { PackagePrecision } from "../../vlm/convert/package-graphs.ts";

const NAMES_SHOWN = 4;

export function describeLayers(
  layers: readonly LayerChoice[],
  asked: PackagePrecision,
): { readonly zh: string; readonly en: string } {
  if (layers.length === 0) return { zh: "没有量化的层", en: "no quantised layers" };
  const moved = layers.filter((layer) => layer.moved > 0).length;
  const wider = layers.filter((layer) => isWider(layer, asked));
  const names = wider
    .slice(0, NAMES_SHOWN)
    .map(({ name, precision }) => `${name} ${precision}`)
    .join(", ");
  const more = wider.length > NAMES_SHOWN ? ", …" : "";
  const list = wider.length === 0 ? "" : ` (${names}${more})`;
  return {
    zh: `${layers.length} 个层输入中 ${moved} 个移动了尺度，${wider.length} 个用更宽的格式${list}`,
    en: `of ${layers.length} layer inputs ${moved} with moved scales, ${wider.length} in a wider format${list}`,
  };
}

function isWider({ name, precision }: LayerChoice, { decoder, vision }: PackagePrecision): boolean {
  // The head of a 4-bit decoder is int8 from the start.
  if (name === "logits") return precision === "fp32" && decoder !== "fp32";
  return precision !== (name.startsWith("layers.") ? decoder : vision);
}
