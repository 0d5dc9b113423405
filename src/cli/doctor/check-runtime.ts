// Does ONNX Runtime load? Runs in a process of its own.

import { availableProviders } from "../../vlm/runtime/device.ts";
import { loadOrt } from "../../vlm/runtime/ort.ts";
import { adviceFor } from "./advice.ts";
import type { Finding } from "./finding.ts";

export function checkRuntime(): Finding {
  const what = "ONNX Runtime";
  try {
    const ort = loadOrt();
    const providers = availableProviders().map((name) => name.replace("ExecutionProvider", ""));
    const found = `${ort.version} (${providers.join(" ")})`;
    return { verdict: "ok", what, found };
  } catch (error) {
    return { verdict: "fail", what, found: "-", advice: adviceFor(error) };
  }
}
