// What the words of ONNX Runtime's CUDA provider mean for a card: there are no codes in its statuses. In: an error. Out: yes
// or no.

/** Did the memory of the card not suffice? ONNX Runtime says so in words only. */
export function isOutOfMemory(error: unknown): boolean {
  return (
    error instanceof Error &&
    /Failed to allocate memory for requested buffer|out of memory|CUDA error 2\b/iu.test(
      error.message,
    )
  );
}

/** Errors after which a card answers nothing else until the process ends. */
export function isLoss(error: unknown): boolean {
  return (
    error instanceof Error &&
    /illegal memory access|device-side assert|unspecified launch failure|uncorrectable ECC|GPU is lost|CUDA failure 7\d\d/iu.test(
      error.message,
    )
  );
}
