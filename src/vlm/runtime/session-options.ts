// What ONNX Runtime is told before it makes a session, and what its refusals mean. In: the options of a caller. Out:
// settings, or an error in words. It knows nothing of runs.

import { basename, dirname } from "node:path";
import { ModelLoadError } from "../errors.ts";
import { defaultThreads } from "./cpu-threads.ts";
import { addresses, type Handle, LOG_FATAL, type Ort, offHeap } from "./ort.ts";
import type { OrtError } from "./ort-error.ts";
import type { NamedValues, SessionOptions } from "./session.ts";

const OPTIMIZE_ALL = 99;
/** On CUDA the rest gains nothing for graphs that use the fused operators already, and has crashed on 16-bit ones. */
const OPTIMIZE_BASIC = 1;

const CUDA_ENTRIES = {
  // A node that CUDA cannot do would be done by the CPU, with copies of everything around it.
  "session.disable_cpu_ep_fallback": "1",
  // Weights lie beside the arena for activations, not in it.
  "session.use_device_allocator_for_initializers": "1",
};

/**
 * Work is shared out in pieces that become smaller, not in equal halves: a thread that lost its core for a moment holds up
 * less. Measured with a 2B on two cores of a Zen 3, in turn: decode steps 2 to 11 % faster, prompts level.
 */
const BLOCKS_OF_A_THREAD = "4";

/** Everything that a session is told before it is made. */
export function configure(ort: Ort, sessionOptions: Handle, options: SessionOptions): void {
  const { threads = defaultThreads(), spinning = true, memoryArena = true } = options;
  const spin = spinning ? "1" : "0";
  const entries = {
    "session.intra_op.allow_spinning": spin,
    "session.inter_op.allow_spinning": spin,
    "session.dynamic_block_base": BLOCKS_OF_A_THREAD,
    ...(options.device?.startsWith("cuda") ? CUDA_ENTRIES : {}),
    ...options.configEntries,
  };
  ort.call("SetSessionLogSeverityLevel", sessionOptions, LOG_FATAL);
  const cuda = options.device?.startsWith("cuda") ?? false;
  const level = cuda ? OPTIMIZE_BASIC : OPTIMIZE_ALL;
  ort.call("SetSessionGraphOptimizationLevel", sessionOptions, level);
  ort.call("SetIntraOpNumThreads", sessionOptions, threads);
  ort.call(memoryArena ? "EnableCpuMemArena" : "DisableCpuMemArena", sessionOptions);
  for (const [key, value] of Object.entries(entries)) {
    ort.call("AddSessionConfigEntry", sessionOptions, key, value);
  }
}

/** The session's own references to the values end with the session; the memory is the caller's. */
export function giveInitializers(ort: Ort, sessionOptions: Handle, values: NamedValues): void {
  const names = Object.keys(values);
  if (names.length === 0) return;
  const texts = names.map((name) => offHeap(Buffer.from(`${name}\0`)));
  const used = Object.values(values);
  const nameAddresses = addresses(names.length);
  const handles = addresses(names.length);
  for (const [index, value] of used.entries()) {
    nameAddresses[index] = ort.address(texts[index]!);
    handles[index] = value.acquire();
  }
  try {
    ort.call("AddExternalInitializers", sessionOptions, nameAddresses, handles, names.length);
  } finally {
    for (const value of used) value.giveBack();
  }
}

/** The session uses the very values, wherever they lie: they must outlive it. */
export function lendInitializers(ort: Ort, sessionOptions: Handle, values: NamedValues): void {
  for (const [name, value] of Object.entries(values)) {
    ort.call("AddInitializer", sessionOptions, name, value.acquire());
    value.giveBack();
  }
}

/** What a caller sees of a graph that cannot be loaded. */
export function loadError(model: string | Uint8Array, cause: OrtError): ModelLoadError {
  const what = typeof model === "string" ? `the file ${model}` : "a graph";
  if (cause.code === "no-such-file" && typeof model === "string") {
    const options = { cause, missing: [basename(model)], modelDir: dirname(model) };
    return new ModelLoadError("model-files-missing", `There is no file ${model}.`, options);
  }
  if (cause.code === "invalid-protobuf") {
    return new ModelLoadError("model-corrupt", `Expected ${what} to be an ONNX model.`, { cause });
  }
  return new ModelLoadError(
    "session-failed",
    `ONNX Runtime could not load ${what}: ${cause.message}`,
    { cause },
  );
}
