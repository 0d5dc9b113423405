// What runs on the thread of a device: native functions, called by address, one list of calls after the other.
// Plain JavaScript, because Node loads the file of a worker by itself, also where everything else is run from its
// TypeScript sources. It knows nothing of what the calls do.

import { createRequire } from "node:module";
import { getPriority, setPriority } from "node:os";
import { parentPort, workerData } from "node:worker_threads";

// On Linux, 0 is the calling thread.
if (workerData.nicer > 0) setPriority(0, Math.min(19, getPriority(0) + workerData.nicer));

const koffi = createRequire(import.meta.url)("koffi");
// Kernels keep scratch buffers on the stack, and a run's first thread is this one. Pages that are never touched cost
// nothing.
koffi.config({ sync_stack_size: 8 * 2 ** 20 });
// koffi 3.3.4 prepares the stack of its calls when a thread loads its first library, and crashes without. This one is
// the program itself, which is there on every platform.
export const program = koffi.load(null);
/** @type {Map<string, Function>} */
const functions = new Map();

/** @param {{ address: bigint, result: string, parameters: string[] }} call */
function bind({ address, result, parameters }) {
  const key = `${address} ${result} ${parameters}`;
  let bound = functions.get(key);
  if (!bound) {
    bound = koffi.decode(address, koffi.proto(result, parameters));
    functions.set(key, bound);
  }
  return bound;
}

parentPort.on("message", ({ id, calls, done }) => {
  const results = [];
  let failure;
  let failed = false;
  try {
    for (const call of calls) {
      if (failed && !call.always) continue;
      const result = bind(call)(...call.args) ?? null;
      results.push(result);
      // A status object or an error code: what comes after needs what failed.
      failed ||= call.stops && Boolean(result);
    }
  } catch (error) {
    failure = String(error);
  }
  if (done) {
    Atomics.store(done, 0, 1);
    Atomics.notify(done, 0);
  } else {
    parentPort.postMessage({ id, results, failure });
  }
});
