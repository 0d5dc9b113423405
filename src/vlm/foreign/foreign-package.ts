// A package of graphs that another program made, as a model: one graph for each part, settings, and what is known of it
// without opening a graph. In: its files, and what a caller asked for. Out: choices, or an error that says what cannot be
// had of such a package. It knows nothing of sessions.

import type { Qwen3VlConfig } from "../checkpoint/config.ts";
import { JsonFields, readJsonFile } from "../checkpoint/json-fields.ts";
import { findSource, readModelSettings } from "../checkpoint/open-checkpoint.ts";
import type { Precision } from "../convert/linear-layers.ts";
import { type PackagePrecision, packageGraphs } from "../convert/package-graphs.ts";
import type { VisionPrecision } from "../convert/vision-graph.ts";
import type { ModelPackage } from "../engine/onnx-package.ts";
import { ModelLoadError } from "../errors.ts";
import {
  type ForeignFiles,
  type ForeignGraph,
  type ForeignLayout,
  GRAPH_ROLES,
  type GraphRole,
} from "./foreign-files.ts";

export interface ForeignPackage extends ModelPackage {
  readonly layout: ForeignLayout;
  readonly graphs: Readonly<Record<GraphRole, ForeignGraph>>;
}

/** What a caller may name of a load; everything else of such a package is as it was made. */
export interface ForeignChoices {
  readonly device: string;
  readonly precision: Precision | undefined;
  readonly visionPrecision: VisionPrecision | undefined;
  /** Of LoRA. */
  readonly adapters?: readonly string[];
}

/** The ends of names that are a precision of ours. */
const FORMS: Readonly<Record<Precision | VisionPrecision, readonly string[]>> = {
  fp32: ["fp32"],
  fp16: ["fp16"],
  bf16: ["bf16"],
  w8a8: ["quantized", "int8", "uint8"],
  q4: ["q4"],
  q4f16: ["q4f16"],
  w8a16: [],
};

/**
 * What is taken when nobody names a format: what a CPU multiplies fast first, 16 bits last, which it computes in f32
 * between casts. Pictures and embeddings are the smaller half, and take the most exact.
 */
const USUAL_FORMS: Readonly<Record<GraphRole, readonly string[]>> = {
  decoder: ["q4", "quantized", "int8", "uint8", "fp32", "q4f16", "fp16", "bnb4"],
  vision: ["fp32", "fp16", "quantized", "int8", "uint8", "q4", "q4f16", "bnb4"],
  embedding: ["fp32", "fp16", "quantized", "int8", "uint8", "q4", "q4f16", "bnb4"],
};

const SESSION_NAMES: Readonly<Record<GraphRole, string>> = {
  decoder: "decoder_model_merged",
  vision: "vision_encoder",
  embedding: "embed_tokens",
};

/** @throws ModelLoadError naming what is missing, or what cannot be had of such a package */
export async function openForeignPackage(
  files: ForeignFiles,
  choices: ForeignChoices,
): Promise<ForeignPackage> {
  const { directory, layout } = files;
  expectForeignChoices(files, choices);
  const { config, assumptions } = await readModelSettings(directory);
  const graphs = await chooseForeignGraphs(files, choices);
  const { name } = await findSource(directory);
  return {
    directory,
    layout,
    graphs,
    config,
    assumptions,
    name,
    precision: likelyPrecision(config, graphs),
    weightBytes: GRAPH_ROLES.reduce((sum, role) => sum + graphs[role].bytes, 0),
    contextCopies: 2,
  };
}

/**
 * One graph for each part, of files that {@link expectForeignChoices} has let pass. Only config.json is read: the graphs
 * need not be there yet.
 *
 * @throws ModelLoadError naming the formats that are there
 */
export async function chooseForeignGraphs(
  files: ForeignFiles,
  choices: ForeignChoices,
): Promise<ForeignPackage["graphs"]> {
  const named = await namedForms(files.directory);
  const pick = (role: GraphRole, asked?: Precision | VisionPrecision) =>
    pickGraph(files, role, asked, named[role]);
  return {
    decoder: pick("decoder", choices.precision),
    vision: pick("vision", choices.visionPrecision),
    embedding: pick("embedding"),
  };
}

/** Such a package is and stays as it was made. @throws ModelLoadError naming what is missing, or what cannot be had of it */
export function expectForeignChoices(
  { directory, name = directory, layout, graphs }: ForeignFiles,
  { device, precision, visionPrecision, adapters = [] }: ForeignChoices,
): void {
  const refusal = (what: string) =>
    new ModelLoadError(
      "model-unsupported",
      `${name} is an ONNX package of the ${layout} layout, made by another program: ${what}. ` +
        "Name the safetensors checkpoint it was made from instead.",
      { modelDir: directory },
    );
  if (device !== "cpu") throw refusal(`it runs on the CPU only, not on ${device}`);
  if (adapters.length > 0) throw refusal("LoRA adapters cannot be merged into it");
  const missing = GRAPH_ROLES.filter((role) => graphs[role].length === 0);
  if (missing.length > 0) {
    const names = missing.map((role) =>
      layout === "mobius" ? `${folderOf(role)}/model.onnx` : `onnx/${SESSION_NAMES[role]}.onnx`,
    );
    throw new ModelLoadError(
      "model-files-missing",
      `The ONNX package ${name} (${layout} layout) lacks ${names.join(", ")}. Download or export it again.`,
      { modelDir: directory, missing: names },
    );
  }
  if (layout === "onnx-community") return;
  for (const [option, value] of Object.entries({ precision, visionPrecision })) {
    if (value === undefined) continue;
    throw refusal(
      `its number formats were chosen when it was made, and ${option} cannot be ${value}`,
    );
  }
}

/** Has it a decoder of this precision, or none that says which it has? */
export function mayHold({ graphs }: ForeignFiles, precision: Precision): boolean {
  return graphs.decoder.some(({ form }) => form === undefined || FORMS[precision].includes(form));
}

function folderOf(role: GraphRole): string {
  return role === "vision" ? "vision_encoder" : role;
}

/** The graph that was asked for, else the one that the package names itself, else the one that a CPU does best. */
function pickGraph(
  { directory, name = directory, graphs }: ForeignFiles,
  role: GraphRole,
  asked: Precision | VisionPrecision | undefined,
  named: string | undefined,
): ForeignGraph {
  const there = graphs[role];
  const wanted =
    asked === undefined ? [...(named ? [named] : []), ...USUAL_FORMS[role]] : FORMS[asked];
  const found = wanted.flatMap((form) => there.find((graph) => graph.form === form) ?? [])[0];
  if (found !== undefined) return found;
  if (asked === undefined) return there[0]!;
  const option = role === "vision" ? "visionPrecision" : "precision";
  const known = (Object.keys(FORMS) as (keyof typeof FORMS)[]).filter((precision) =>
    there.some(({ form }) => form !== undefined && FORMS[precision].includes(form)),
  );
  throw new ModelLoadError(
    "model-unsupported",
    `${name} holds no ${SESSION_NAMES[role]} for ${option} ${asked}; it holds ${known.join(", ")}. ` +
      "It was made by another program and cannot be converted: name one of these, or the checkpoint it was made from.",
    { modelDir: directory },
  );
}

/** `transformers.js_config` of config.json: a format for all graphs, or one for each. */
async function namedForms(directory: string): Promise<Partial<Record<GraphRole, string>>> {
  const config = new JsonFields(await readJsonFile(directory, "config.json"), "config.json");
  const forAll = config.stringInside("transformers.js_config", "dtype");
  const settings = config.objectOrUndefined("transformers.js_config");
  const forms: Partial<Record<GraphRole, string>> = {};
  for (const role of GRAPH_ROLES) {
    const form = forAll ?? settings?.stringInside("dtype", SESSION_NAMES[role]);
    if (form !== undefined) forms[role] = form === "q8" ? "quantized" : form;
  }
  return forms;
}

/** Of our precisions the one with as many bytes: for estimates of memory and time, nothing else. */
function likelyPrecision(
  config: Qwen3VlConfig,
  graphs: Readonly<Record<GraphRole, ForeignGraph>>,
): PackagePrecision {
  const full = packageGraphs(config, { decoder: "fp32", vision: "fp32" }, "cpu", {
    int8Weights: "s8",
  });
  const share = (role: "decoder" | "vision") =>
    graphs[role].bytes / full[role].model.externalByteLength;
  const wide = (of: number) => (of > 0.75 ? "fp32" : of > 0.375 ? "fp16" : "w8a8");
  const decoder = share("decoder");
  return { decoder: decoder > 0.2 ? wide(decoder) : "q4", vision: wide(share("vision")) };
}
