// Does ONNX Runtime load, and does the device take a session? Runs in a process of its own.

import { availableProviders, tryDevice } from "../../vlm/runtime/device.ts";
import { loadOrt } from "../../vlm/runtime/ort.ts";
import { adviceFor } from "./advice.ts";
import type { CheckContext, Finding } from "./finding.ts";

export async function checkRuntime({ settings: { device } }: CheckContext): Promise<Finding> {
  const what = "ONNX Runtime";
  let found: string = device;
  try {
    const ort = loadOrt();
    const providers = availableProviders().map((name) => name.replace("ExecutionProvider", ""));
    found = `${ort.version} (${providers.join(" ")}), ${device}`;
    await tryDevice(device);
    return { verdict: "ok", what, found };
  } catch (error) {
    return { verdict: "fail", what, found, advice: adviceFor(error) };
  }
}
