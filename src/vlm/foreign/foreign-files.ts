// Packages of ONNX graphs that other programs made: which layout some files have, and which graph lies where. In: a
// directory, or a list of files. Out: files by what they are for, or nothing where it is no such package. It opens no graph.
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
  /** Paths of the graph and of its data. */
  readonly files: readonly string[];
}

export interface ForeignGraphs {
  readonly layout: ForeignLayout;
  readonly graphs: Readonly<Record<GraphRole, readonly ForeignGraph[]>>;
}

export interface ForeignFiles extends ForeignGraphs {
  /** Where they lie, or will lie. */
  readonly directory: string;
  /** What to call them in messages. @default the directory */
  readonly name?: string;
}

/** A file by its path in a directory or a repository, with `/`. */
interface PlacedFile {
  readonly path: string;
  readonly size: number;
}

/** Earlier releases of mobius, and the runtime it exports for, have other names for the same folders. */
const MOBIUS_FOLDERS: Readonly<Record<GraphRole, readonly string[]>> = {
  decoder: ["decoder", "model"],
  vision: ["vision_encoder", "vision"],
  embedding: ["embedding"],
};
const MOBIUS_GRAPH = "model.onnx";
const MOBIUS_DATA = /^model\.onnx_data(?:_\d+)?$|\.data$/;

const COMMUNITY_FOLDERS = ["onnx", ""];
const COMMUNITY_ROLES: Readonly<Record<string, GraphRole>> = {
  decoder_model_merged: "decoder",
  vision_encoder: "vision",
  embed_tokens: "embedding",
};
const COMMUNITY_GRAPH =
  /^(decoder_model_merged|vision_encoder|embed_tokens)(?:_([a-z0-9]+))?\.onnx$/;

/** What one graph of several is followed by in the name of its data. */
const COMMUNITY_DATA = /^_data(?:_\d+)?$/;

const FOLDERS = [...Object.values(MOBIUS_FOLDERS).flat(), ...COMMUNITY_FOLDERS];

/** A checkpoint is converted, whatever lies beside its weights. */
const WEIGHTS = /\.safetensors$/;

/** May this path be that of a graph, or of its data, in one of the layouts? */
export function isGraphPath(path: string): boolean {
  const [folder, name] = split(path);
  return FOLDERS.includes(folder) && /\.onnx(?:_data(?:_\d+)?)?$|\.data$/.test(name);
}

/** What another program made of a model, or undefined. */
export async function findForeignFiles(directory: string): Promise<ForeignFiles | undefined> {
  const present = await namesIn(directory);
  if (present.some((name) => WEIGHTS.test(name))) return undefined;
  const paths = await Promise.all(
    FOLDERS.filter((folder) => folder === "" || present.includes(folder)).map(async (folder) =>
      (await namesIn(join(directory, folder))).map((name) => pathOf(folder, name)),
    ),
  );
  const files = await Promise.all(
    paths
      .flat()
      .filter(isGraphPath)
      .map(async (path) => ({ path, size: (await disk.fileSize(join(directory, path))) ?? 0 })),
  );
  const found = foreignGraphsIn(files);
  return found && { directory, ...found };
}

/** The same of a list, which may hold anything else. */
export function foreignGraphsIn(files: readonly PlacedFile[]): ForeignGraphs | undefined {
  return mobiusIn(files) ?? communityIn(files);
}

function mobiusIn(files: readonly PlacedFile[]): ForeignGraphs | undefined {
  const graphs = {
    decoder: graphIn(files, MOBIUS_FOLDERS.decoder),
    vision: graphIn(files, MOBIUS_FOLDERS.vision),
    embedding: graphIn(files, MOBIUS_FOLDERS.embedding),
  };
  const isOne = graphs.decoder.length > 0 && graphs.vision.length + graphs.embedding.length > 0;
  return isOne ? { layout: "mobius", graphs } : undefined;
}

/** The graph of the first of these folders that has one. */
function graphIn(files: readonly PlacedFile[], folders: readonly string[]): ForeignGraph[] {
  for (const folder of folders) {
    const there = inFolder(files, folder);
    if (!there.some(({ name }) => name === MOBIUS_GRAPH)) continue;
    const own = there.filter(({ name }) => name === MOBIUS_GRAPH || MOBIUS_DATA.test(name));
    return [{ file: pathOf(folder, MOBIUS_GRAPH), form: undefined, ...together(own) }];
  }
  return [];
}

function communityIn(files: readonly PlacedFile[]): ForeignGraphs | undefined {
  for (const folder of COMMUNITY_FOLDERS) {
    const there = inFolder(files, folder);
    const graphs = { decoder: [], vision: [], embedding: [] } as Record<GraphRole, ForeignGraph[]>;
    for (const { name, path } of there) {
      const [, base, form = "fp32"] = COMMUNITY_GRAPH.exec(name) ?? [];
      const role = base === undefined ? undefined : COMMUNITY_ROLES[base];
      if (role === undefined) continue;
      const own = there.filter((other) => other.path === path || isDataOf(other.name, name));
      graphs[role].push({ file: path, form, ...together(own) });
    }
    if (graphs.decoder.length > 0) return { layout: "onnx-community", graphs };
  }
  return undefined;
}

function isDataOf(name: string, graph: string): boolean {
  return name.startsWith(graph) && COMMUNITY_DATA.test(name.slice(graph.length));
}

interface NamedFile extends PlacedFile {
  readonly name: string;
}

/** By name. */
function inFolder(files: readonly PlacedFile[], folder: string): NamedFile[] {
  return files
    .flatMap((file) => {
      const [where, name] = split(file.path);
      return where === folder ? [{ ...file, name }] : [];
    })
    .toSorted((a, b) => (a.name < b.name ? -1 : 1));
}

function together(files: readonly NamedFile[]): Pick<ForeignGraph, "bytes" | "files"> {
  const bytes = files.reduce((sum, { size }) => sum + size, 0);
  return { bytes, files: files.map(({ path }) => path) };
}

/** Folder and name. */
function split(path: string): [folder: string, name: string] {
  const at = path.lastIndexOf("/");
  return [at < 0 ? "" : path.slice(0, at), path.slice(at + 1)];
}

function pathOf(folder: string, name: string): string {
  return folder === "" ? name : `${folder}/${name}`;
}

async function namesIn(directory: string): Promise<string[]> {
  return readdir(directory).catch(() => []);
}
