import { mkdir, writeFile } from "node:fs/promises";
import { dirname, join } from "node:path";
import { beforeEach, describe, expect, it } from "vitest";
import {
  cudaLibraryNames,
  findCompiler,
  findCudaLibraries,
  type LookupOptions,
} from "../../../src/vlm/runtime/cuda-libraries.ts";
import { tempDir } from "../../support/temp-dir.ts";

let root: string;

beforeEach(async () => {
  root = await tempDir();
});

async function put(...paths: string[]): Promise<void> {
  for (const path of paths) {
    await mkdir(dirname(join(root, path)), { recursive: true });
    await writeFile(join(root, path), "");
  }
}

function find(major: 12 | 13, options: Partial<LookupOptions> = {}) {
  return findCudaLibraries(major, {
    beside: join(root, "ort"),
    environment: {},
    home: join(root, "home"),
    platform: "linux",
    root,
    ...options,
  });
}

const places = (found: ReturnType<typeof find>) =>
  found.map(({ path }) => path.replace(root, "").replaceAll("\\", "/"));

describe("findCudaLibraries", () => {
  it("names the libraries in the order in which they need each other", () => {
    expect(cudaLibraryNames(13, "linux")).toEqual([
      "libcudart.so.13",
      "libcublasLt.so.13",
      "libcublas.so.13",
      "libcurand.so.10",
    ]);
    expect(cudaLibraryNames(12, "win32")[1]).toBe("cublasLt64_12.dll");
  });

  it("leaves what it does not find to the system's loader", () => {
    expect(find(13)).toEqual(
      cudaLibraryNames(13, "linux").map((name) => ({ name, path: name, found: false })),
    );
  });

  it("finds a toolkit, the newest first", async () => {
    for (const version of ["cuda-13.0", "cuda-13.2", "cuda-12.9"]) {
      await put(`usr/local/${version}/lib64/libcudart.so.13`);
    }
    await put("usr/local/cuda-13.0/lib64/libcurand.so.10");
    expect(places(find(13))).toEqual([
      "/usr/local/cuda-13.2/lib64/libcudart.so.13",
      "libcublasLt.so.13",
      "libcublas.so.13",
      "/usr/local/cuda-13.0/lib64/libcurand.so.10",
    ]);
  });

  it("finds the wheels of pip in the environment of the Python on the PATH, for CUDA 12 and 13", async () => {
    const site = "opt/torch/.venv/lib/python3.12/site-packages/nvidia";
    await put(
      "opt/torch/.venv/bin/python3",
      `${site}/cu13/lib/libcudart.so.13`,
      `${site}/cu13/lib/libcublasLt.so.13`,
      `${site}/cu13/lib/libcublas.so.13`,
      `${site}/cu13/lib/libcurand.so.10`,
      `${site}/cuda_runtime/lib/libcudart.so.12`,
      `${site}/cublas/lib/libcublas.so.12`,
    );
    const environment = { PATH: join(root, "opt/torch/.venv/bin") };
    expect(find(13, { environment }).every(({ found }) => found)).toBe(true);
    expect(places(find(12, { environment }))).toEqual([
      `/${site}/cuda_runtime/lib/libcudart.so.12`,
      "libcublasLt.so.12",
      `/${site}/cublas/lib/libcublas.so.12`,
      `/${site}/cu13/lib/libcurand.so.10`,
    ]);
  });

  it("finds conda, a user's own packages, and what lies beside the provider", async () => {
    await put(
      "conda/lib/libcudart.so.13",
      "home/.local/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so.13",
      "ort/cuda/libcurand.so.10",
    );
    expect(places(find(13, { environment: { CONDA_PREFIX: join(root, "conda") } }))).toEqual([
      "/conda/lib/libcudart.so.13",
      "libcublasLt.so.13",
      "/home/.local/lib/python3.11/site-packages/nvidia/cublas/lib/libcublas.so.13",
      "/ort/cuda/libcurand.so.10",
    ]);
  });

  it("prefers what the environment names", async () => {
    await put("own/libcudart.so.13", "usr/local/cuda/lib64/libcudart.so.13");
    const environment = { LD_LIBRARY_PATH: join(root, "own") };
    expect(places(find(13, { environment }))[0]).toBe("/own/libcudart.so.13");
  });

  describe("on Windows", () => {
    const windows = { platform: "win32" as const };

    it("finds toolkits by the variables of their versions, the newest first", async () => {
      await put("cuda/v13.0/bin/x64/cudart64_13.dll", "cuda/v13.10/bin/x64/cudart64_13.dll");
      await put("cuda/v13.0/bin/x64/cublas64_13.dll", "cuda/v12.9/bin/cudart64_12.dll");
      const environment = Object.fromEntries(
        ["12_9", "13_0", "13_10"].map((version) => [
          `CUDA_PATH_V${version}`,
          join(root, "cuda", `v${version.replace("_", ".")}`),
        ]),
      );
      expect(places(find(13, { ...windows, environment }))).toEqual([
        "/cuda/v13.10/bin/x64/cudart64_13.dll",
        "cublasLt64_13.dll",
        "/cuda/v13.0/bin/x64/cublas64_13.dll",
        "curand64_10.dll",
      ]);
      expect(places(find(12, { ...windows, environment }))[0]).toBe(
        "/cuda/v12.9/bin/cudart64_12.dll",
      );
    });

    it("finds them where they are installed, and on the PATH", async () => {
      const toolkits = "Programs/NVIDIA GPU Computing Toolkit/CUDA";
      await put(`${toolkits}/v13.1/bin/x64/cudart64_13.dll`, "elsewhere/curand64_10.dll");
      const environment = {
        ProgramFiles: join(root, "Programs"),
        PATH: `${join(root, "nothing")};${join(root, "elsewhere")}`,
      };
      expect(places(find(13, { ...windows, environment }))).toEqual([
        `/${toolkits}/v13.1/bin/x64/cudart64_13.dll`,
        "cublasLt64_13.dll",
        "cublas64_13.dll",
        "/elsewhere/curand64_10.dll",
      ]);
    });

    it("finds wheels of a virtual environment, of a Python on the PATH, and of a person", async () => {
      await put(
        "venv/Lib/site-packages/nvidia/cu13/bin/x86_64/cudart64_13.dll",
        "python/python.exe",
        "python/Lib/site-packages/nvidia/cublas/bin/cublas64_13.dll",
        "roaming/Python/Python312/site-packages/nvidia/curand/bin/curand64_10.dll",
      );
      const environment = {
        VIRTUAL_ENV: join(root, "venv"),
        PATH: join(root, "python"),
        APPDATA: join(root, "roaming"),
      };
      expect(places(find(13, { ...windows, environment }))).toEqual([
        "/venv/Lib/site-packages/nvidia/cu13/bin/x86_64/cudart64_13.dll",
        "cublasLt64_13.dll",
        "/python/Lib/site-packages/nvidia/cublas/bin/cublas64_13.dll",
        "/roaming/Python/Python312/site-packages/nvidia/curand/bin/curand64_10.dll",
      ]);
    });

    it("finds the compiler with what it needs itself", async () => {
      await put("ort/nvrtc-builtins64_130.dll", "ort/nvrtc64_130_0.dll");
      expect(findCompiler(13, { ...windows, beside: join(root, "ort"), environment: {} })).toEqual([
        join(root, "ort/nvrtc-builtins64_130.dll"),
        join(root, "ort/nvrtc64_130_0.dll"),
      ]);
    });
  });
});
