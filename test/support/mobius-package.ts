// Packages as mobius exports them: its graphs as it wrote them, their data filled in from the checkpoint that was exported.
// Out: directories.

import { copyFile, mkdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { gunzipSync } from "node:zlib";
import { packagePath } from "../../src/package-root.ts";
import { fromFloat32 } from "../../src/vlm/checkpoint/dtype.ts";
import { type Checkpoint, openCheckpoint } from "../../src/vlm/checkpoint/open-checkpoint.ts";
import { EMBED_TOKENS, LM_HEAD } from "../../src/vlm/checkpoint/tensor-names.ts";
import { columnsOf, rowsOf } from "../../src/vlm/checkpoint/weight.ts";
import { goldenCheckpoint } from "./golden-checkpoint.ts";
import { messages, type ProtoFields, readProto, strings } from "./protobuf-reader.ts";
import { TINY_CHAT_DIR } from "./tiny-chat.ts";

export const MOBIUS_FOLDERS = ["decoder", "vision_encoder", "embedding"] as const;
export type MobiusExport = "tiny-tied" | "tiny-tied-f16" | "tiny-chat";

/** The directory of a complete package below `parent`. */
export async function mobiusPackage(name: MobiusExport, parent: string): Promise<string> {
  const dir = join(parent, `mobius-${name}`);
  const checkpointDir =
    name === "tiny-chat" ? TINY_CHAT_DIR : await goldenCheckpoint("tiny-tied", parent);
  const checkpoint = await openCheckpoint(checkpointDir);
  try {
    for (const folder of MOBIUS_FOLDERS) {
      await mkdir(join(dir, folder), { recursive: true });
      const graph = await mobiusGraph(name, folder);
      await writeFile(join(dir, folder, "model.onnx"), graph);
      await writeFile(join(dir, folder, "model.onnx.data"), await dataOf(graph, checkpoint));
    }
    for (const file of checkpoint.settingsFiles) {
      await copyFile(join(checkpointDir, file), join(dir, file));
    }
  } finally {
    await checkpoint.close();
  }
  return dir;
}

export async function mobiusGraph(
  name: MobiusExport,
  folder: (typeof MOBIUS_FOLDERS)[number],
): Promise<Uint8Array> {
  return gunzipSync(await readFile(packagePath(`test/goldens/mobius/${name}/${folder}.onnx.gz`)));
}

/** The file that the tensors of a graph lie in. */
export async function dataOf(graph: Uint8Array, checkpoint: Checkpoint): Promise<Uint8Array> {
  const [body] = messages(readProto(graph), 7);
  const tensors = messages(body!, 5).filter((tensor) => tensor.has(13));
  const places = tensors.map(placeOf);
  const data = new Uint8Array(Math.max(...places.map(({ offset, length }) => offset + length)));
  for (const [index, tensor] of tensors.entries()) {
    const { offset, length } = places[index]!;
    const values = await valuesOf(strings(tensor, 8)[0]!, tensor, checkpoint);
    const isHalf = Number(tensor.get(2)![0]) === 10;
    const stored = isHalf ? new Uint16Array(values.length) : values;
    if (stored instanceof Uint16Array) fromFloat32(values, "f16", stored);
    if (stored.byteLength !== length) throw new Error(`${strings(tensor, 8)[0]} has another size.`);
    data.set(new Uint8Array(stored.buffer, stored.byteOffset, length), offset);
  }
  return data;
}

function placeOf(tensor: ProtoFields): { readonly offset: number; readonly length: number } {
  const entries = new Map(
    messages(tensor, 13).map((entry) => [strings(entry, 1)[0], strings(entry, 2)[0]]),
  );
  return { offset: Number(entries.get("offset") ?? 0), length: Number(entries.get("length")) };
}

async function valuesOf(
  name: string,
  tensor: ProtoFields,
  checkpoint: Checkpoint,
): Promise<Float32Array> {
  const dims = (tensor.get(1) ?? []).map(Number);
  const table = /rotary\w*\.(cos|sin)_\w+$/.exec(name);
  if (table) {
    const { text, vision } = checkpoint.config;
    const theta = name.startsWith("decoder") ? text.ropeTheta : vision.ropeTheta;
    return rotaryTable(dims as [number, number], theta, table[1] === "cos" ? Math.cos : Math.sin);
  }
  // A constant that the exporter folded: the row in front of which there are no features of pictures.
  if (name.startsWith("v_embedding.Expand")) return new Float32Array(dims[0]! * dims[1]!);
  const weight = checkpoint.tensors.get(storedName(name, checkpoint));
  if (weight === undefined) throw new Error(`The checkpoint has nothing for ${name}.`);
  const [rows, columns] = [rowsOf(weight), columnsOf(weight)];
  const values = new Float32Array(rows * columns);
  await weight.readRows(0, rows, values);
  return name.endsWith("_t") ? turned(values, rows, columns) : values;
}

/** What the exporter calls a tensor, in the words of the checkpoint. */
function storedName(name: string, { config }: Checkpoint): string {
  const plain = name.replace(/_t$/, "");
  if (plain === "decoder.lm_head.weight") return config.tiedEmbeddings ? EMBED_TOKENS : LM_HEAD;
  return plain
    .replace(/^decoder\.model\./, "model.language_model.")
    .replace(/^embedding\./, "model.language_model.")
    .replace(/^vision_encoder\.(.*)\.mlp\.up_proj/, "vision_encoder.$1.mlp.linear_fc1")
    .replace(/^vision_encoder\.(.*)\.mlp\.down_proj/, "vision_encoder.$1.mlp.linear_fc2")
    .replace(/^vision_encoder\./, "model.");
}

/** (rows, columns) -> (columns, rows) */
function turned(values: Float32Array, rows: number, columns: number): Float32Array {
  return Float32Array.from(values, (_, i) => values[(i % rows) * columns + Math.floor(i / rows)]!);
}

function rotaryTable(
  [positions, count]: readonly [number, number],
  theta: number,
  wave: (angle: number) => number,
): Float32Array {
  return Float32Array.from({ length: positions * count }, (_, i) => {
    const frequency = Math.fround(1 / Math.fround(theta ** Math.fround((i % count) / count)));
    return wave(Math.fround(Math.floor(i / count) * frequency));
  });
}
