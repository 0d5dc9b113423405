// Packages of ONNX graphs that other programs made: which layout a directory has, and which graph lies where. In: a
// directory. Out: files by what they are for, or nothing where it is no such package. It opens no graph.
//
// mobius          decoder/model.onnx, vision_encoder/model.onnx, embedding/model.onnx, each with its data beside it
// onnx-community  onnx/decoder_model_merged*.onnx, onnx/vision_encoder*.onnx, onnx/embed_tokens*.onnx: several number
//                 formats of each, told apart by the ends of their names, with their data in NAME.onnx_data, _data_1 ...

import { readdir } from "node:fs/promises";
import { join } from "node:path";
import { disk } from "../../disk.ts";

export const FOREIGN_LAYOUTS = ["mobius", "onnx-community"] as const;
export type ForeignLayout = (typeof FOREIGN_LAYOUTS)[number];

export const GRAPH_ROLES = ["decoder", "vision", "embedding"] as const;
/** What a graph is for. `embedding`: token ids in, their embeddings out. */
export type GraphRole = (typeof GRAPH_ROLES)[number];

export interface ForeignGraph {
  /** Path in the directory, with `/`. */
  readonly file: string;
  /** Number format by the end of its name, such as `q4f16`; `fp32` where it has none; undefined where names do not say. */
  readonly form: string | undefined;
  /** With its data. */
  readonly bytes: number;
}

export interface ForeignFiles {
  readonly directory: string;
  readonly layout: ForeignLayout;
  readonly graphs: Readonly<Record<GraphRole, readonly ForeignGraph[]>>;
}

/** Earlier releases of mobius, and the runtime it exports for, have other names for the same folders. */
const MOBIUS_FOLDERS: Readonly<Record<GraphRole, readonly string[]>> = {
  decoder: ["decoder", "model"],
  vision: ["vision_encoder", "vision"],
  embedding: ["embedding"],
};
const MOBIUS_GRAPH = "model.onnx";

const COMMUNITY_ROLES: Readonly<Record<string, GraphRole>> = {
  decoder_model_merged: "decoder",
  vision_encoder: "vision",
  embed_tokens: "embedding",
};
const COMMUNITY_GRAPH =
  /^(decoder_model_merged|vision_encoder|embed_tokens)(?:_([a-z0-9]+))?\.onnx$/;

/** A checkpoint is converted, whatever lies beside its weights. */
const WEIGHTS = /\.safetensors$/;

/** What another program made of a model, or undefined. */
export async function findForeignFiles(directory: string): Promise<ForeignFiles | undefined> {
  const present = await namesIn(directory);
  if (present.some((name) => WEIGHTS.test(name))) return undefined;
  return (await findMobius(directory)) ?? (await findCommunity(directory));
}

async function findMobius(directory: string): Promise<ForeignFiles | undefined> {
  const graphs = Object.fromEntries(
    await Promise.all(
      GRAPH_ROLES.map(async (role) => [role, await graphIn(directory, MOBIUS_FOLDERS[role])]),
    ),
  ) as ForeignFiles["graphs"];
  const isOne = graphs.decoder.length > 0 && graphs.vision.length + graphs.embedding.length > 0;
  return isOne ? { directory, layout: "mobius", graphs } : undefined;
}

/** The graph of the first of these folders that has one. */
async function graphIn(directory: string, folders: readonly string[]): Promise<ForeignGraph[]> {
  for (const folder of folders) {
    const names = await namesIn(join(directory, folder));
    if (!names.includes(MOBIUS_GRAPH)) continue;
    const bytes = await bytesOf(join(directory, folder), names);
    return [{ file: `${folder}/${MOBIUS_GRAPH}`, form: undefined, bytes }];
  }
  return [];
}

async function findCommunity(directory: string): Promise<ForeignFiles | undefined> {
  for (const folder of ["onnx", ""]) {
    const names = await namesIn(join(directory, folder));
    const graphs = { decoder: [], vision: [], embedding: [] } as Record<GraphRole, ForeignGraph[]>;
    for (const name of names.toSorted()) {
      const [, base, form = "fp32"] = COMMUNITY_GRAPH.exec(name) ?? [];
      const role = base === undefined ? undefined : COMMUNITY_ROLES[base];
      if (role === undefined) continue;
      const own = names.filter((other) => other === name || other.startsWith(`${name}_data`));
      const bytes = await bytesOf(join(directory, folder), own);
      graphs[role].push({ file: folder === "" ? name : `${folder}/${name}`, form, bytes });
    }
    if (graphs.decoder.length > 0) return { directory, layout: "onnx-community", graphs };
  }
  return undefined;
}

async function bytesOf(directory: string, names: readonly string[]): Promise<number> {
  const sizes = await Promise.all(names.map((name) => disk.fileSize(join(directory, name))));
  return sizes.reduce((sum: number, size) => sum + (size ?? 0), 0);
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
