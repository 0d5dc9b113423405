// The public list of `napcat-vlm/vlm`: a model that sees, for any program.

// Every day: load a model and ask it.

export type { MemoryCheck } from "./machine/memory-check.ts";
export type { LoadOptions, LoadProgress } from "./options.ts";
export { loadQwen3Vl, type Qwen3VlModel } from "./qwen3-vl.ts";
export type * from "./vision-language-model.ts";

// Data instead of words.

export {
  type ExtractRequest,
  extract,
  type SchemaIssue,
  type SchemaVerdict,
  type ValueOf,
  type ValueSchema,
} from "./extract.ts";

// What can go wrong.

export * from "./errors.ts";

// Converting by hand, and looking at what was converted.

export { convertCheckpoint } from "./convert/convert.ts";
export type { ConvertOptions, ConvertProgress, ConvertStage } from "./convert/convert-options.ts";
export { defaultPackageDir } from "./convert/ensure-package.ts";
export type { Int8Weights, Precision } from "./convert/linear-layers.ts";
export { type PackageManifest, readManifest, verifyPackage } from "./convert/manifest.ts";
export type { VisionPrecision } from "./convert/vision-graph.ts";

// Fetching a model from a hub.

export { pullModel } from "./hub/pull-model.ts";
export type { PulledModel, PullOptions } from "./hub/pull-options.ts";
export type { PullProgress } from "./hub/pull-progress.ts";

// What this machine offers.

export { preferredInt8Weights } from "./engine/cpu-settings.ts";
export { availableProviders, type Device } from "./runtime/device.ts";
export { ORT_VERSION } from "./runtime/ort-library.ts";

// For serving the seam with another engine: what of its output is no answer. And for telling pictures from other files.

export { collectStream } from "./collect.ts";
export { detectMediaType, type MediaType } from "./image/media-type.ts";
export { LeadingThought, type LeadingThoughtOptions } from "./text/leading-thought.ts";
export { TextRepetition } from "./text/repetition.ts";
