// What a caller may ask of a pull, and what they get. In: options. Out: the same, checked and completed. It loads nothing:
// whoever imports the package pays for none of the rest.

import {
  abortSignal,
  boolean,
  callback,
  integer,
  matching,
  nonEmptyText,
  object,
  oneOf,
  parseOptions,
  unexpected,
} from "../../parse-options.ts";
import { PRECISIONS, type Precision } from "../convert/linear-layers.ts";
import { VISION_PRECISIONS, type VisionPrecision } from "../convert/vision-graph.ts";
import type { Device } from "../runtime/device.ts";
import type { HubKind } from "./hub.ts";
import { modelName } from "./model-name.ts";
import type { PullProgress } from "./pull-progress.ts";

export interface PullOptions {
  /** OWNER/NAME on a hub, or a short name such as `qwen3-vl-2b`. */
  readonly model: string;
  /** `auto`: whichever has the model and answers first, the same one the next time. @default "auto" */
  readonly hub?: HubKind | "auto";
  /** Branch, tag or commit; fixed to one commit before anything is fetched. @default what the hub has as its default */
  readonly revision?: string;
  /** Make a package of the files right away. @default true */
  readonly convert?: boolean;
  /** What the package is for. @default "cpu" */
  readonly device?: Device | "auto";
  /** Of the package. @default what suits this machine, as in `loadQwen3Vl` */
  readonly precision?: Precision;
  readonly visionPrecision?: VisionPrecision;
  /** Keep the hub's files beside the package. @default false; true without conversion */
  readonly keepCheckpoint?: boolean;
  /** Where pulled models lie. @default `NAPCAT_VLM_MODELS`, else `napcat-vlm/models` in the user's cache */
  readonly modelsDir?: string;
  /** Of one file at once. @default 4 */
  readonly connections?: number;
  /** Variables that say which hubs, tokens, proxies and caches there are. @default process.env */
  readonly env?: Readonly<Record<string, string | undefined>>;
  readonly signal?: AbortSignal;
  readonly onProgress?: (progress: PullProgress) => void;
  /** Told of what works but may surprise. @default console.warn */
  readonly onWarning?: (message: string) => void;
}

export interface PulledModel {
  /** OWNER/NAME */
  readonly name: string;
  /** For `loadQwen3Vl({ model: path })`: the package, or the files of the hub where nothing was converted. */
  readonly path: string;
  /** Commit that the files are of. */
  readonly revision: string;
  readonly hub: HubKind;
  readonly host: string;
  /** The files of the hub, where they were kept. */
  readonly checkpointDir: string | undefined;
  /** Was everything here already? */
  readonly wasHere: boolean;
}

const DEFAULT_CONNECTIONS = 4;
const MOST_CONNECTIONS = 16;

const DEVICE = '"cpu", "webgpu", "cuda:N" or "auto"';
const REVISION = /^(?!.*(?:\.\.|@\{|\\))[\w][\w./+-]{0,199}$/;

const SCHEMA = object({
  model: nonEmptyText(),
  hub: oneOf(["auto", "hf", "modelscope"]).optional(),
  revision: matching<string>(
    "the name of a branch, a tag or a commit",
    (value) => typeof value === "string" && REVISION.test(value),
  ).optional(),
  convert: boolean().optional(),
  device: matching<string>(
    DEVICE,
    (value) => typeof value === "string" && /^(?:auto|cpu|webgpu|cuda:\d+)$/.test(value),
  ).optional(),
  precision: oneOf(PRECISIONS).optional(),
  visionPrecision: oneOf(VISION_PRECISIONS).optional(),
  keepCheckpoint: boolean().optional(),
  modelsDir: nonEmptyText().optional(),
  connections: integer(1, MOST_CONNECTIONS).optional(),
  env: matching<object>(
    "an object",
    (value) => typeof value === "object" && value !== null,
  ).optional(),
  signal: abortSignal().optional(),
  onProgress: callback().optional(),
  onWarning: callback().optional(),
});

export interface ResolvedPullOptions
  extends Required<
    Omit<PullOptions, "revision" | "precision" | "visionPrecision" | "modelsDir" | "signal">
  > {
  readonly revision: string | undefined;
  readonly precision: Precision | undefined;
  readonly visionPrecision: VisionPrecision | undefined;
  readonly modelsDir: string | undefined;
  readonly signal: AbortSignal;
}

/** @throws {TypeError | RangeError} naming every option that is wrong, what was expected and what came */
export function resolvePullOptions(options: PullOptions): ResolvedPullOptions {
  parseOptions(SCHEMA, options, "pullModel");
  const model = modelName(options.model);
  if (model === undefined) {
    const expected =
      "OWNER/NAME, such as Qwen/Qwen3-VL-2B-Instruct, or a short name such as qwen3-vl-2b";
    throw new TypeError(unexpected("model", expected, options.model));
  }
  const convert = options.convert ?? true;
  return {
    model,
    hub: options.hub ?? "auto",
    revision: options.revision,
    convert,
    device: options.device ?? "cpu",
    precision: options.precision,
    visionPrecision: options.visionPrecision,
    keepCheckpoint: options.keepCheckpoint ?? !convert,
    modelsDir: options.modelsDir,
    connections: options.connections ?? DEFAULT_CONNECTIONS,
    env: options.env ?? process.env,
    signal: options.signal ?? new AbortController().signal,
    onProgress: options.onProgress ?? (() => {}),
    onWarning: options.onWarning ?? ((message) => console.warn(message)),
  };
}
