// What failures of CUDA mean for a card, by the words in which ONNX Runtime's provider passes them on: its statuses have no
// codes for them. In: an error. Out: is there too little memory, or is the card lost, or neither?

/** As the runtime of CUDA numbers it. */
export const OUT_OF_MEMORY = 2;

/**
 * Errors after which nothing on a card goes on before it is opened again: NVIDIA documents the most of them as leaving "the
 * process in an inconsistent state", and the others say that there is no card to be reached any more.
 */
const LOSSES: ReadonlyMap<number, string> = new Map([
  [4, "cudaErrorCudartUnloading"],
  [46, "cudaErrorDevicesUnavailable"],
  [53, "cudaErrorPriorLaunchFailure"],
  [201, "cudaErrorDeviceUninitialized"],
  [214, "cudaErrorECCUncorrectable"],
  [220, "cudaErrorNvlinkUncorrectable"],
  [226, "cudaErrorContained"],
  [700, "cudaErrorIllegalAddress"],
  [702, "cudaErrorLaunchTimeout"],
  [709, "cudaErrorContextIsDestroyed"],
  [710, "cudaErrorAssert"],
  [714, "cudaErrorHardwareStackError"],
  [715, "cudaErrorIllegalInstruction"],
  [716, "cudaErrorMisalignedAddress"],
  [717, "cudaErrorInvalidAddressSpace"],
  [718, "cudaErrorInvalidPc"],
  [719, "cudaErrorLaunchFailure"],
  [721, "cudaErrorTensorMemoryLeak"],
  [806, "cudaErrorMpsRpcFailure"],
  [810, "cudaErrorMpsClientTerminated"],
  [911, "cudaErrorExternalDevice"],
  [999, "cudaErrorUnknown"],
]);
const LOSS_NAMES: ReadonlySet<string> = new Set(LOSSES.values());

/** Its own pool, CUDA, and cuBLAS, each in its own words. */
const NO_MEMORY =
  /Failed to allocate memory for requested buffer|CUDA failure 2:|CUDA error cudaErrorMemoryAllocation:|CUBLAS failure 3:/u;

/** Did the memory of the card not suffice? */
export function isOutOfMemory(error: unknown): boolean {
  return error instanceof Error && NO_MEMORY.test(error.message);
}

/** Is it one of the errors after which a card answers nothing else? */
export function isLoss(error: unknown): boolean {
  if (!(error instanceof Error)) return false;
  const { message } = error;
  const code = Number(/CUDA failure (\d+):/u.exec(message)?.[1]);
  const name = /CUDA error (cudaError\w+):/u.exec(message)?.[1];
  return LOSSES.has(code) || (name !== undefined && LOSS_NAMES.has(name));
}

/** What CUDA itself said, without the file and the host that ONNX Runtime names beside it. */
export function cudaWords(error: unknown): string {
  const text = error instanceof Error ? error.message : String(error);
  return (/CUDA (?:failure \d+|error cudaError\w+):[^;]*/u.exec(text)?.[0] ?? text).trim();
}
