// manifest.json of an ONNX package: where it came from, what is in it, how to tell that it is whole. Written last,
// so a directory without one is no package. Knows nothing of tensors.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { DiskError } from "../../disk-error.ts";
import { JsonFields } from "../checkpoint/json-fields.ts";
import type { CheckpointSource } from "../checkpoint/open-checkpoint.ts";
import { ModelLoadError } from "../errors.ts";
import { hasAdapters } from "./adapter-name.ts";
import type { LayerChoice } from "./balance-inputs.ts";
import { CACHE_FORMATS, type CacheFormat } from "./cached-attention.ts";
import { type FileDigest, fingerprintFile, type StreamOptions, sha256File } from "./hashed-file.ts";
import { INT8_WEIGHTS, type Int8Weights, PRECISIONS } from "./linear-layers.ts";
import { PACKAGE_DEVICES, type PackageDevice, type PackagePrecision } from "./package-graphs.ts";
import { VISION_PRECISIONS } from "./vision-graph.ts";

export const MANIFEST_FILE = "manifest.json";
/** Changes when a loader of the old packages could not read the new ones. */
export const FORMAT_VERSION = 1;
/** Changes whenever the same checkpoint would give other bytes. */
export const CONVERTER_VERSION = "7";

const KIND = "napcat-vlm onnx package";

/** A file the package was made from. */
export interface InputDigest extends FileDigest {
  /** SHA-256 of size and samples; see `fingerprintFile`. */
  readonly fingerprint: string;
}

/** A LoRA that was merged into the weights. */
export interface AdapterDigest {
  readonly name: string;
  readonly inputs: readonly InputDigest[];
}

/** One graph: its files, and its inputs and outputs as `name: type[shape]`. */
export interface GraphEntry {
  readonly file: string;
  readonly dataFile: string;
  readonly inputs: Readonly<Record<string, string>>;
  readonly outputs: Readonly<Record<string, string>>;
}

/** manifest.json of an ONNX package. Holds no times, so equal inputs give equal bytes. */
export interface PackageManifest {
  readonly kind: typeof KIND;
  readonly formatVersion: number;
  readonly converterVersion: string;
  readonly opset: number;
  readonly source: CheckpointSource;
  /** Sentences about what the checkpoint left open or told wrongly, and what was assumed. */
  readonly assumptions: readonly string[];
  readonly precision: PackagePrecision;
  /** What the graphs were written for. */
  readonly device: PackageDevice;
  /** How int8 weights are stored; right on every CPU either way, but not equally fast. */
  readonly int8Weights: Int8Weights;
  /** Number format of each group of tensors. */
  readonly tensorGroups: Readonly<Record<string, string>>;
  /** What was chosen for the products of quantised graphs; see `LayerChoice`. */
  readonly layers: readonly LayerChoice[];
  readonly visionEncoder: GraphEntry;
  readonly decoder: GraphEntry;
  /** The decoder with keys and values in other formats than fp32, with the same weights. */
  readonly cacheDecoders: Readonly<Partial<Record<CacheFormat, GraphEntry>>>;
  /** Raw little-endian rows, one per token. */
  readonly embedTokens: {
    readonly file: string;
    readonly dtype: "bf16" | "f16" | "f32";
    readonly rows: number;
    readonly columns: number;
  };
  readonly inputs: readonly InputDigest[];
  /** In the order of merging. */
  readonly adapters: readonly AdapterDigest[];
  /** Every file of the package but the manifest. */
  readonly outputs: readonly FileDigest[];
}

export function serializeManifest(manifest: Omit<PackageManifest, "kind">): string {
  // Not written where there are none, as packages from before adapters have none.
  const { adapters, ...rest } = manifest;
  const whole = { kind: KIND, ...rest, ...(adapters.length === 0 ? {} : { adapters }) };
  return `${JSON.stringify(whole, undefined, 2)}\n`;
}

/**
 * Reads and checks manifest.json.
 *
 * @throws ModelLoadError `model-files-missing` when there is none, `model-unsupported` when it was made by
 *   another version, `model-corrupt` when it makes no sense
 */
export async function readManifest(dir: string): Promise<PackageManifest> {
  let text: string;
  try {
    text = await disk.readText(join(dir, MANIFEST_FILE));
  } catch (cause) {
    if (cause instanceof DiskError) throw cause;
    throw new ModelLoadError(
      "model-files-missing",
      `${dir} is not an ONNX package, or only a part of one: it has no ${MANIFEST_FILE}. Convert the checkpoint.`,
      { cause, modelDir: dir, missing: [MANIFEST_FILE] },
    );
  }
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (cause) {
    throw new ModelLoadError("model-corrupt", `${MANIFEST_FILE} is not valid JSON.`, {
      cause,
      modelDir: dir,
    });
  }
  return parseManifest(json, dir);
}

function parseManifest(json: unknown, dir: string): PackageManifest {
  const fields = new JsonFields(json, MANIFEST_FILE);
  if (fields.stringOrUndefined("kind") !== KIND) throw fields.wrong("kind", `"${KIND}"`);
  const formatVersion = fields.integer("formatVersion", 1);
  if (formatVersion !== FORMAT_VERSION) {
    throw new ModelLoadError(
      "model-unsupported",
      `The ONNX package has format ${formatVersion} and this version reads format ${FORMAT_VERSION}. Convert the checkpoint again.`,
      { modelDir: dir },
    );
  }
  const precision = fields.object("precision");
  const embedTokens = fields.object("embedTokens");
  const source = fields.object("source");
  const revision = source.stringOrUndefined("revision");
  return {
    kind: KIND,
    formatVersion,
    converterVersion: fields.string("converterVersion"),
    opset: fields.integer("opset", 1),
    source: { name: source.string("name"), ...(revision === undefined ? {} : { revision }) },
    assumptions: fields.has("assumptions") ? fields.strings("assumptions") : [],
    precision: {
      decoder: oneOf(precision, "decoder", PRECISIONS),
      vision: oneOf(precision, "vision", VISION_PRECISIONS),
    },
    // Packages from before devices had graphs of their own are for the CPU.
    device: fields.has("device") ? oneOf(fields, "device", PACKAGE_DEVICES) : "cpu",
    int8Weights: oneOf(fields, "int8Weights", INT8_WEIGHTS),
    tensorGroups: stringMap(fields.object("tensorGroups")),
    layers: fields.has("layers") ? fields.objects("layers").map(parseLayer) : [],
    visionEncoder: parseGraph(fields.object("visionEncoder")),
    decoder: parseGraph(fields.object("decoder")),
    cacheDecoders: fields.has("cacheDecoders")
      ? parseCacheDecoders(fields.object("cacheDecoders"))
      : {},
    embedTokens: {
      file: fileName(embedTokens),
      dtype: oneOf(embedTokens, "dtype", ["bf16", "f16", "f32"]),
      rows: embedTokens.integer("rows", 1),
      columns: embedTokens.integer("columns", 1),
    },
    inputs: fields.objects("inputs").map(parseInput),
    adapters: (fields.has("adapters") ? fields.objects("adapters") : []).map((adapter) => ({
      name: adapter.string("name"),
      inputs: adapter.objects("inputs").map(parseInput),
    })),
    outputs: fields.objects("outputs").map(parseDigest),
  };
}

/**
 * Checks that a package is whole: every file there, of the right size, and with `hashes` of the right content.
 *
 * @throws ModelLoadError `model-files-missing` naming all missing files, `model-corrupt` naming the first bad one
 */
export async function verifyPackage(
  dir: string,
  options: { readonly hashes: boolean } & StreamOptions,
): Promise<PackageManifest> {
  const manifest = await readManifest(dir);
  const sizes = new Map<string, number | undefined>();
  for (const { file } of manifest.outputs) sizes.set(file, await disk.fileSize(join(dir, file)));
  const needed = neededFiles(manifest).filter((file) => !sizes.has(file));
  const missing = [
    ...needed,
    ...[...sizes].flatMap(([file, size]) => (size === undefined ? [file] : [])),
  ];
  if (missing.length > 0) {
    throw new ModelLoadError(
      "model-files-missing",
      `The ONNX package ${dir} lacks ${missing.join(", ")}. Convert the checkpoint again.`,
      { modelDir: dir, missing },
    );
  }
  for (const output of manifest.outputs) {
    const size = sizes.get(output.file);
    if (size !== output.bytes) {
      throw damaged(dir, `${output.file} has ${size} bytes and should have ${output.bytes}`);
    }
    if (options.hashes) {
      const { sha256 } = await sha256File(join(dir, output.file), options);
      if (sha256 !== output.sha256) throw damaged(dir, `${output.file} has changed`);
    }
  }
  return manifest;
}

/**
 * Was the package made by this converter, in this precision, from the checkpoint as it lies in `checkpointDir`
 * now, with these adapters merged in this order? Reads samples of large files, not all of them.
 */
export async function isPackageOf(
  manifest: PackageManifest,
  checkpointDir: string,
  precision: PackagePrecision,
  device: PackageDevice = "cpu",
  adapters: readonly string[] = [],
): Promise<boolean> {
  if (
    manifest.converterVersion !== CONVERTER_VERSION ||
    manifest.device !== device ||
    manifest.precision.decoder !== precision.decoder ||
    manifest.precision.vision !== precision.vision ||
    !(await hasAdapters(manifest, adapters))
  ) {
    return false;
  }
  for (const { file, bytes, fingerprint } of manifest.inputs) {
    const path = join(checkpointDir, file);
    if ((await disk.fileSize(path)) !== bytes || (await fingerprintFile(path)) !== fingerprint) {
      return false;
    }
  }
  return true;
}

/** Is there a manifest of ours, whole or not? Tells a package from somebody's own directory. */
export async function isMarkedAsPackage(dir: string): Promise<boolean> {
  try {
    return (await disk.readText(join(dir, MANIFEST_FILE))).includes(JSON.stringify(KIND));
  } catch (error) {
    // Held is not gone: a package that another program reads must not be made again.
    if (error instanceof DiskError && error.trouble === "held") throw error;
    return false; // No manifest, no package.
  }
}

function neededFiles(manifest: PackageManifest): string[] {
  const { visionEncoder, decoder, cacheDecoders, embedTokens } = manifest;
  const entries = [visionEncoder, decoder, ...Object.values(cacheDecoders)];
  const graphs = entries.flatMap(({ file, dataFile }) => [file, dataFile]);
  return [...graphs, embedTokens.file, "config.json"];
}

function parseGraph(fields: JsonFields): GraphEntry {
  return {
    file: fileName(fields),
    dataFile: fileName(fields, "dataFile"),
    inputs: stringMap(fields.object("inputs")),
    outputs: stringMap(fields.object("outputs")),
  };
}

function parseCacheDecoders(fields: JsonFields): PackageManifest["cacheDecoders"] {
  const known = CACHE_FORMATS.filter((format) => fields.has(format));
  return Object.fromEntries(known.map((format) => [format, parseGraph(fields.object(format))]));
}

function parseLayer(fields: JsonFields): LayerChoice {
  return {
    name: fields.string("name"),
    precision: oneOf(fields, "precision", ["fp32", "w8a8", "q4"]),
    error: fields.number("error", { min: 0 }),
    plainError: fields.number("plainError", { min: 0 }),
    moved: fields.number("moved", { min: 0, max: 1 }),
  };
}

function parseInput(fields: JsonFields): InputDigest {
  return { ...parseDigest(fields), fingerprint: fields.string("fingerprint") };
}

function parseDigest(fields: JsonFields): FileDigest {
  return {
    file: fileName(fields),
    bytes: fields.integer("bytes", 0),
    sha256: fields.string("sha256"),
  };
}

/** A package never reaches outside its directory. */
function fileName(fields: JsonFields, field = "file"): string {
  const name = fields.string(field);
  if (!/^[\w-][\w.-]*$/.test(name)) throw fields.wrong(field, "a plain file name");
  return name;
}

function stringMap(fields: JsonFields): Record<string, string> {
  return Object.fromEntries(fields.keys().map((name) => [name, fields.string(name)]));
}

function oneOf<T extends string>(fields: JsonFields, name: string, values: readonly T[]): T {
  const value = fields.string(name);
  const known = values.find((candidate) => candidate === value);
  if (known === undefined) throw fields.wrong(name, `one of ${values.join(", ")}`);
  return known;
}

function damaged(dir: string, what: string): ModelLoadError {
  return new ModelLoadError(
    "model-corrupt",
    `The ONNX package ${dir} is damaged: ${what}. Convert the checkpoint again.`,
    { modelDir: dir },
  );
}
