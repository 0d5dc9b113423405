// The library with ONNX Runtime's CUDA kernels, looked at before it is loaded. What core and provider share is no
// stable interface: one of another version crashes the process. In: a file. Out: what it was built as.

import { open } from "node:fs/promises";

export interface ProviderBuild {
  /** Of ONNX Runtime; undefined when it is none of those looked for. */
  readonly version: string | undefined;
  /** Major version of the CUDA libraries that it needs; undefined when it names none. */
  readonly cuda: 12 | 13 | undefined;
}

export const CUDA_PROVIDER_FILE =
  process.platform === "win32"
    ? "onnxruntime_providers_cuda.dll"
    : "libonnxruntime_providers_cuda.so";

const PIECE_BYTES = 2 ** 23;
/** Longer than anything that is looked for, which a piece may cut. */
const OVERLAP_BYTES = 64;

/** Reads a provider library; each fact is a NUL-terminated string of its own in it. */
export async function inspectProvider(
  file: string,
  versions: readonly string[],
): Promise<ProviderBuild> {
  const ofVersion = versions.map((version) => Buffer.from(`\0${version}\0`));
  const ofCuda = ([12, 13] as const).flatMap((major) =>
    [`\0libcudart.so.${major}\0`, `\0cudart64_${major}.dll\0`].map((name) => ({
      major,
      name: Buffer.from(name),
    })),
  );
  const found: { version: string | undefined; cuda: 12 | 13 | undefined } = {
    version: undefined,
    cuda: undefined,
  };
  const buffer = Buffer.alloc(PIECE_BYTES + OVERLAP_BYTES);
  const handle = await open(file, "r");
  try {
    for (let start = 0; ; start += PIECE_BYTES) {
      const { bytesRead } = await handle.read(buffer, 0, buffer.length, start);
      const piece = buffer.subarray(0, bytesRead);
      found.version ??= versions[ofVersion.findIndex((text) => piece.includes(text))];
      found.cuda ??= ofCuda.find(({ name }) => piece.includes(name))?.major;
      const known = found.version !== undefined && found.cuda !== undefined;
      if (known || bytesRead < buffer.length) return found;
    }
  } finally {
    await handle.close();
  }
}
