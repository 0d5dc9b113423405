// What ONNX Runtime is told of runs on a card.

import { describe, expect, it } from "vitest";
import { cudaRunSettings } from "../../../src/vlm/runtime/cuda-run-settings.ts";

const PLAIN = { card: 1, waits: false, shrinks: false, captureGraphs: false };

describe("the settings of a run on a card", () => {
  it("are none for a plain one", () => {
    expect(cudaRunSettings(PLAIN)).toEqual({});
  });

  it("leave waiting to whoever copies results, and give memory back after one that had too little", () => {
    expect(cudaRunSettings({ ...PLAIN, waits: true, shrinks: true })).toEqual({
      disable_synchronize_execution_providers: "1",
      "memory.enable_memory_arena_shrinkage": "gpu:1",
    });
  });

  it("keep the memory of recorded runs where it is", () => {
    const recorded = { ...PLAIN, shrinks: true, captureGraphs: true };
    expect(cudaRunSettings({ ...recorded, graphId: 3 })).toEqual({ gpu_graph_id: "3" });
    // Also those of prompts, which are not recorded: memory is the session's.
    expect(cudaRunSettings(recorded)).toEqual({ gpu_graph_id: "-1" });
  });
});
