// Shaders of WebGPU, compiled once per process: ONNX Runtime forgets them with the last session on the device, and the
// check of a model before it is loaded, or the next load, would compile all of them again (5 to 15 s with a software
// driver). One small session that stays keeps them. In: nothing. Out: nothing.

import { OnnxModel } from "../convert/onnx-model.ts";
import { Session } from "../runtime/session.ts";

let kept: Promise<Session> | undefined;

/** Keeps what is compiled from now on until the process ends or the device is lost. @throws ModelLoadError */
export async function keepShaders(): Promise<void> {
  kept ??= load();
  await kept.catch((error: unknown) => {
    kept = undefined; // a later load tries again
    throw error;
  });
}

async function load(): Promise<Session> {
  const model = new OnnxModel("keeper");
  model.input("x", "f32", [1]);
  model.output("y", "f32", [1]);
  model.node("Abs", "y", ["x"]);
  const session = await Session.load(model.serialize("none", "1"), { device: "webgpu" });
  // A lost device stays the process's only one until nothing is left on it.
  const letGo = () => {
    kept = undefined;
    void session.dispose();
  };
  session.open?.loss.addEventListener("abort", letGo, { once: true });
  return session;
}
