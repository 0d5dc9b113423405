// pullModel: the door to this folder for programs. Nothing of it, and no HTTP client, is loaded before it is called.

import type { PulledModel, PullOptions } from "./pull-options.ts";

/**
 * Fetches a model from Hugging Face, a mirror or ModelScope, verifies every file, and converts it. What an earlier call
 * began, in this process or one that was killed, is gone on with.
 *
 * @example
 * const { path } = await pullModel({ model: "Qwen/Qwen3-VL-2B-Instruct", onProgress: console.log });
 * const model = await loadQwen3Vl({ model: path });
 *
 * @throws {TypeError | RangeError} for a wrong option
 * @throws {PullError} when it cannot be fetched, by `code`; what came is kept
 * @throws {ModelLoadError} when the disk has no room, or the model cannot be converted
 * @throws the signal's reason when it aborts
 */
export async function pullModel(options: PullOptions): Promise<PulledModel> {
  const { pull } = await import("./pull.ts");
  return pull(options);
}
