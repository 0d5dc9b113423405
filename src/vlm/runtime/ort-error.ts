// What ONNX Runtime says when one of its functions fails: a code and a sentence.

const ERROR_CODES = [
  "ok",
  "fail",
  "invalid-argument",
  "no-such-file",
  "no-model",
  "engine-error",
  "runtime-exception",
  "invalid-protobuf",
  "model-loaded",
  "not-implemented",
  "invalid-graph",
  "ep-fail",
  "model-load-canceled",
  "model-requires-compilation",
  "not-found",
] as const;

export type OrtErrorCode = (typeof ERROR_CODES)[number];

/** What ONNX Runtime said when one of its functions failed. */
export class OrtError extends Error {
  override readonly name = "OrtError";
  readonly code: OrtErrorCode;

  /** @param code as the C API numbers it */
  constructor(code: number, message: string) {
    super(message);
    this.code = ERROR_CODES[code] ?? "fail";
  }
}
