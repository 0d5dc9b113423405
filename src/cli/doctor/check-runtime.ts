// Does ONNX Runtime load, and does the device take a session? Runs in a process of its own.

import { appendProvider, availableProviders } from "../../vlm/runtime/device.ts";
import { loadOrt } from "../../vlm/runtime/ort.ts";
import { adviceFor } from "./advice.ts";
import type { CheckContext, Finding } from "./finding.ts";

export function checkRuntime({ settings: { device } }: CheckContext): Finding {
  const what = "ONNX Runtime";
  let found: string = device;
  try {
    const ort = loadOrt();
    const providers = availableProviders().map((name) => name.replace("ExecutionProvider", ""));
    found = `${ort.version} (${providers.join(" ")}), ${device}`;
    // The list says what the library knows of. Asking for the provider tells whether it works.
    const options = ort.create("CreateSessionOptions");
    try {
      appendProvider(ort, options, device);
      return { verdict: "ok", what, found };
    } finally {
      ort.release("ReleaseSessionOptions", options);
    }
  } catch (error) {
    return { verdict: "fail", what, found, advice: adviceFor(error) };
  }
}
