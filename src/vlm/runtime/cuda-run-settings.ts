// What ONNX Runtime is told of a single run on a card. In: what is wanted of it. Out: entries of its configuration.

export interface CudaRun {
  /** Of the card. */
  readonly card: number;
  /** Does a call after the run wait for the stream? Waiting twice costs time. */
  readonly waits: boolean;
  /** Does memory that earlier runs took and nobody uses go back to the card? */
  readonly shrinks: boolean;
  /** Can runs of the session be recorded? */
  readonly captureGraphs: boolean;
  /** Runs of one id are recorded once and then replayed; -1 is a run like any other. @default -1 */
  readonly graphId?: number | undefined;
}

export function cudaRunSettings(run: CudaRun): Readonly<Record<string, string>> {
  const { card, waits, shrinks, captureGraphs, graphId = -1 } = run;
  return {
    ...(waits ? { disable_synchronize_execution_providers: "1" } : {}),
    // What a recorded run writes between its operators lies in memory that looks unused: it must stay where it is.
    ...(shrinks && !captureGraphs ? { "memory.enable_memory_arena_shrinkage": `gpu:${card}` } : {}),
    ...(captureGraphs ? { gpu_graph_id: String(graphId) } : {}),
  };
}
