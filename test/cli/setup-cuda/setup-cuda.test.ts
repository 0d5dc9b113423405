import { createHash, randomBytes } from "node:crypto";
import { mkdir, readdir, readFile, realpath, utimes, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { PassThrough } from "node:stream";
import { create } from "tar";
import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { chooseCuda } from "../../../src/cli/setup-cuda/choose-cuda.ts";
import { type SetupCudaOptions, setupCuda } from "../../../src/cli/setup-cuda.ts";
import { disk } from "../../../src/disk.ts";
import { DiskError } from "../../../src/disk-error.ts";
import { corePath, findCore, ORT_VERSION } from "../../../src/vlm/runtime/ort-library.ts";
import { providerDirectory, providerFiles } from "../../../src/vlm/runtime/provider-directory.ts";
import { type FileServer, sendFile, startFileServer } from "../../support/file-server.ts";
import { tempDir } from "../../support/temp-dir.ts";
import { zip } from "../../support/zip.ts";

const signal = new AbortController().signal;
const NO_DRIVER = { driver: undefined, complete: [] };
const [SHARED = "", CUDA = ""] = providerFiles("linux");

let cacheDir: string;
let printed: string;
const servers: FileServer[] = [];
beforeEach(async () => {
  cacheDir = await tempDir();
  printed = "";
  const write = (text: unknown) => {
    printed += String(text);
    return true;
  };
  vi.spyOn(process.stdout, "write").mockImplementation(write);
  vi.spyOn(process.stderr, "write").mockImplementation(write);
});
afterEach(async () => {
  vi.restoreAllMocks();
  vi.unstubAllEnvs();
  for (const server of servers.splice(0)) await server.close();
});

/** What the provider's library says of itself, between other bytes. */
function library(version: string = ORT_VERSION, cuda: 12 | 13 = 13): Buffer {
  const facts = `\0${version}\0\0libcudart.so.${cuda}\0`;
  return Buffer.concat([randomBytes(200_000), Buffer.from(facts), randomBytes(1_000)]);
}

function nupkg(cuda: Buffer = library(), shared: Buffer = randomBytes(100)): Buffer {
  const at = (name: string) => `runtimes/linux-x64/native/${name}`;
  return zip({ "a.nuspec": Buffer.from("<x/>"), [at(SHARED)]: shared, [at(CUDA)]: cuda });
}

async function serve(files: Readonly<Record<string, Buffer>>): Promise<FileServer> {
  const server = await startFileServer((request, response) => {
    const data = files[request.url ?? ""];
    if (data === undefined) response.writeHead(404).end();
    else sendFile(request, response, data);
  });
  servers.push(server);
  return server;
}

function setup(options: Partial<SetupCudaOptions> = {}) {
  const usual = { force: false, signal, platform: "linux/x64", cacheDir, facts: NO_DRIVER };
  return setupCuda({ ...usual, pauseMs: 1, ...options });
}

const directory = (cuda: 12 | 13 = 13) => providerDirectory(ORT_VERSION, cuda, cacheDir);
const PACKAGE = `/microsoft.ml.onnxruntime.gpu.linux/${ORT_VERSION}/microsoft.ml.onnxruntime.gpu.linux.${ORT_VERSION}.nupkg`;

describe("setupCuda", () => {
  it("says where there is no CUDA provider", async () => {
    expect(await setup({ platform: "darwin/arm64" })).toBe(1);
    expect(printed).toMatch(/linux\/x64 and win32\/x64 only, this is darwin\/arm64/);
  });

  it("installs from a mirror with the same layout, says what it chose, and leaves nothing else", async () => {
    const provider = library();
    const archive = nupkg(provider);
    const { url } = await serve({ [`/feed${PACKAGE}`]: archive });
    expect(await setup({ mirror: `${url}/feed` })).toBe(0);
    expect((await readdir(directory())).toSorted()).toEqual([CUDA, SHARED].toSorted());
    expect(await readFile(join(directory(), CUDA))).toEqual(provider);
    expect(printed).toMatch(/CUDA 13: .*no NVIDIA driver was found/);
    expect(printed).toContain(createHash("sha256").update(archive).digest("hex"));
    expect(printed).toMatch(/libcudart\.so\.13[\s\S]*--libraries/);
    expect(printed).toContain("doctor --device cuda:0");

    printed = "";
    expect(await setup({ mirror: "http://127.0.0.1:1/" })).toBe(0);
    expect(printed).toContain("already installed");
    expect(await setup({ mirror: "http://127.0.0.1:1/", force: true })).toBe(1);
    expect(await readFile(join(directory(), CUDA))).toEqual(provider);
  });

  it("takes an index of a feed, and the URL of the file itself", async () => {
    const index = { resources: [{ "@type": "PackageBaseAddress/3.0.0", "@id": "/flat/" }] };
    const { url, asked } = await serve({
      "/v3/index.json": Buffer.from(JSON.stringify(index)),
      [`/flat${PACKAGE}`]: nupkg(),
      "/any/name.nupkg": nupkg(),
    });
    expect(await setup({ mirror: `${url}/v3/index.json` })).toBe(0);
    expect(asked).toEqual(["/v3/index.json", `/flat${PACKAGE}`]);
    expect(await setup({ mirror: `${url}/any/name.nupkg`, force: true })).toBe(0);
    expect(await setup({ mirror: `${url}/none/index.json`, force: true })).toBe(1);
    expect(printed).toMatch(/answered HTTP 404\. .*--mirror URL/);
  });

  it("takes the release's own archive for CUDA 12", async () => {
    const parent = await tempDir();
    const inside = join(parent, `onnxruntime-linux-x64-gpu-${ORT_VERSION}`, "lib");
    await mkdir(inside, { recursive: true });
    await writeFile(join(inside, SHARED), "shared");
    await writeFile(join(inside, CUDA), library(ORT_VERSION, 12));
    const name = `onnxruntime-linux-x64-gpu_cuda12-${ORT_VERSION}.tgz`;
    await create({ gzip: true, file: join(parent, name), cwd: parent }, [
      `onnxruntime-linux-x64-gpu-${ORT_VERSION}`,
    ]);
    const { url } = await serve({ [`/${name}`]: await readFile(join(parent, name)) });
    expect(await setup({ cuda: 12, mirror: url })).toBe(0);
    expect((await readdir(directory(12))).toSorted()).toEqual([CUDA, SHARED].toSorted());
    expect(printed).toContain("CUDA 12: 由 --cuda 指定 · named by --cuda");
  });

  it("takes a file or a directory of this machine", async () => {
    const parent = await tempDir();
    const archive = nupkg();
    await writeFile(join(parent, "x.nupkg"), archive);
    const sha256 = createHash("sha256").update(archive).digest("hex");
    expect(await setup({ from: join(parent, "x.nupkg"), sha256 })).toBe(0);
    const wrong = { from: join(parent, "x.nupkg"), sha256: "0".repeat(64), force: true };
    expect(await setup(wrong)).toBe(1);
    expect(printed).toContain(`has the SHA-256 ${sha256} and not 000`);
    await mkdir(join(parent, "files"));
    await writeFile(join(parent, "files", SHARED), "shared");
    await writeFile(join(parent, "files", CUDA), library());
    expect(await setup({ from: join(parent, "files"), force: true })).toBe(0);
    expect(await setup({ from: join(parent, "gone"), force: true })).toBe(1);
    expect(printed).toContain("ENOENT");
  });

  it.each<[string, () => Buffer, string]>([
    [
      "of another ONNX Runtime",
      () => nupkg(library("1.29.0")),
      `of ONNX Runtime 1.29.0, and ${ORT_VERSION}`,
    ],
    ["of an unknown one", () => nupkg(library("9.9.9")), "of ONNX Runtime another version"],
    [
      "for another CUDA",
      () => nupkg(library(ORT_VERSION, 12)),
      "it needs CUDA 12, and CUDA 13 was chosen",
    ],
    [
      "without the provider",
      () => zip({ "a/b": Buffer.from("x") }),
      `it has no ${SHARED} and no ${CUDA}`,
    ],
    ["that is no archive", () => Buffer.from("<html>log in</html>"), "neither a zip file"],
    ["that is cut off", () => nupkg().subarray(0, 100_000), "not installed: "],
    [
      "with a changed byte",
      () => {
        const archive = nupkg();
        const at = archive.indexOf(`\0${ORT_VERSION}\0`) - 10;
        archive[at] = (archive[at] ?? 0) ^ 1;
        return archive;
      },
      "is damaged in the archive",
    ],
  ])("refuses an archive %s, and keeps what was there", async (_what, make, message) => {
    await mkdir(directory(), { recursive: true });
    for (const name of [SHARED, CUDA]) await writeFile(join(directory(), name), "old");
    const { url } = await serve({ "/x.nupkg": make() });
    expect(await setup({ mirror: `${url}/x.nupkg`, force: true })).toBe(1);
    expect(printed).toContain(message);
    expect((await readdir(directory())).toSorted()).toEqual([CUDA, SHARED].toSorted());
    expect(await readFile(join(directory(), CUDA), "utf8")).toBe("old");
  });

  it("says what to set when a host only ever redirects", async () => {
    const headers = { location: "https://nuget.azure.cn/x" };
    const client = { get: async () => ({ status: 302, headers, body: new PassThrough() }) };
    expect(await setup({ client })).toBe(1);
    expect(printed).toMatch(/api\.nuget\.org answered HTTP 302 6 times, last to nuget\.azure\.cn/);
    expect(printed).toMatch(/--mirror URL[\s\S]*--from FILE[\s\S]*HTTPS_PROXY/);
  });

  it("takes the wheel with the provider where NuGet cannot be reached, and nobody named a mirror", async () => {
    const archive = zip({
      [`onnxruntime/capi/${SHARED}`]: Buffer.from("shared"),
      [`onnxruntime/capi/${CUDA}`]: library(),
    });
    const hash = createHash("sha256").update(archive).digest("hex");
    const name = (python: string, platform: string) =>
      `onnxruntime_gpu-${ORT_VERSION}-${python}-${python}-${platform}.whl`;
    const right = name("cp312", "manylinux_2_28_x86_64");
    const links = [
      "onnxruntime_gpu-1.29.0-cp311-cp311-manylinux_2_28_x86_64.whl",
      name("cp313", "manylinux_2_28_x86_64"),
      `${right}#sha256=${hash}`,
      name("cp312", "manylinux_2_34_aarch64"),
      name("cp312", "win_amd64"),
    ];
    const files: Readonly<Record<string, Buffer>> = {
      "/simple/onnxruntime-gpu/": Buffer.from(
        links.map((link) => `<a href="/f/${link}">x</a>`).join("\n"),
      ),
      [`/f/${right}`]: archive,
    };
    const asked: string[] = [];
    const client = {
      get: async (url: URL) => {
        asked.push(url.host);
        if (url.host === "api.nuget.org") {
          throw Object.assign(new Error("getaddrinfo ENOTFOUND"), { code: "ENOTFOUND" });
        }
        const found = files[url.pathname];
        const body = new PassThrough();
        body.end(found);
        return { status: found ? 200 : 404, headers: {}, body };
      },
    };
    const pypi = "https://pypi.example.cn/simple";
    expect(await setup({ client, pypi })).toBe(0);
    expect((await readdir(directory())).toSorted()).toEqual([CUDA, SHARED].toSorted());
    expect(printed).toMatch(
      /api\.nuget\.org cannot be reached \(ENOTFOUND\)\..*taking the wheel onnxruntime-gpu from PyPI instead/,
    );
    expect(printed).toContain(`SHA-256 ${hash}`);
    expect(new Set(asked)).toEqual(new Set(["api.nuget.org", "pypi.example.cn"]));
    // A mirror, or a hash, is somebody's choice.
    asked.length = 0;
    const chosen = { client, pypi, force: true };
    expect(await setup({ ...chosen, sha256: "0".repeat(64) })).toBe(1);
    expect(await setup({ ...chosen, mirror: "https://api.nuget.org/v3/index.json" })).toBe(1);
    expect(await setup({ ...chosen, cuda: 12 })).toBe(1);
    expect(new Set(asked)).toEqual(new Set(["api.nuget.org", "github.com"]));
  });

  it("says of both that they cannot be reached", async () => {
    const client = {
      get: async () => {
        throw Object.assign(new Error("refused"), { code: "ECONNREFUSED" });
      },
    };
    expect(await setup({ client })).toBe(1);
    expect(printed).toMatch(
      /not installed: api\.nuget\.org cannot be reached \(ECONNREFUSED\)\. pypi\.org cannot be reached \(ECONNREFUSED\)\. .*--mirror URL/,
    );
  });

  it("removes what a killed run has left, once it is old, and keeps nothing of a wrong file", async () => {
    const { url } = await serve({ "/x.nupkg": nupkg() });
    const [old, fresh] = [join(directory(), ".new-old"), join(directory(), ".new-fresh")];
    for (const path of [old, fresh]) {
      await mkdir(path, { recursive: true });
      await writeFile(join(path, CUDA), "half");
    }
    const yesterday = new Date(Date.now() - 86_400_000);
    await utimes(old, yesterday, yesterday);
    const mirror = `${url}/x.nupkg`;
    expect(await setup({ mirror, sha256: "0".repeat(64) })).toBe(1);
    expect((await readdir(directory())).toSorted()).toEqual([".new-fresh", ".new-old"]);
    expect(await setup({ mirror })).toBe(0);
    expect((await readdir(directory())).toSorted()).toEqual(
      [".new-fresh", CUDA, SHARED].toSorted(),
    );
  });

  it("says which variable its directory follows where it cannot be written", async () => {
    const cause = Object.assign(new Error("EROFS"), { code: "EROFS" });
    const refusal = new DiskError("refused", directory(), { cause });
    vi.spyOn(disk, "makeDirectory").mockRejectedValue(refusal);
    expect(await setup({ mirror: "http://127.0.0.1:1/x.nupkg" })).toBe(1);
    expect(printed).toMatch(/cannot be used \(EROFS\)[\s\S]*(?:XDG_CACHE_HOME|LOCALAPPDATA)/);
  });

  it("fetches the CUDA libraries from wheels, with their hashes, each once", async () => {
    const wheel = (name: string) => zip({ [`nvidia/cu13/lib/${name}`]: Buffer.from(name) });
    const runtime = wheel("libcudart.so.13");
    const hash = createHash("sha256").update(runtime).digest("hex");
    const tags = "py3-none-manylinux2014_x86_64.manylinux_2_17_x86_64.whl";
    const cublas = zip({
      "nvidia/cu13/lib/libcublas.so.13": Buffer.from("a"),
      "nvidia/cu13/lib/libcublasLt.so.13": Buffer.from("b"),
    });
    const page = (...links: string[]) =>
      Buffer.from(links.map((link) => `<a href="${link}" data-x="1">x</a><br/>`).join("\n"));
    const { url, asked } = await serve({
      "/x.nupkg": nupkg(),
      "/simple/nvidia-cuda-runtime/": page(
        "/f/nvidia_cuda_runtime-0.0.1.tar.gz",
        `/f/nvidia_cuda_runtime-13.0.9-${tags}`,
        `../../f/nvidia_cuda_runtime-13.0.48-${tags}#sha256=${hash}`,
        "/f/nvidia_cuda_runtime-13.1.0-py3-none-win_amd64.whl",
      ),
      [`/f/nvidia_cuda_runtime-13.0.48-${tags}`]: runtime,
      "/simple/nvidia-cublas/": page(`/f/nvidia_cublas-13.0.0.19-${tags}`),
      [`/f/nvidia_cublas-13.0.0.19-${tags}`]: cublas,
      "/simple/nvidia-curand/": page(`/f/nvidia_curand-10.4.0.35-${tags}`),
      [`/f/nvidia_curand-10.4.0.35-${tags}`]: wheel("libcurand.so.10"),
      "/simple/nvidia-cuda-nvrtc/": page(`/f/nvidia_cuda_nvrtc-13.2.51-${tags}`),
      [`/f/nvidia_cuda_nvrtc-13.2.51-${tags}`]: zip({
        "nvidia/cu13/lib/libnvrtc.so.13": Buffer.from("c"),
        "nvidia/cu13/lib/libnvrtc-builtins.so.13.2": Buffer.from("d"),
      }),
    });
    const options = { mirror: `${url}/x.nupkg`, libraries: true, pypi: `${url}/simple` };
    expect(await setup(options)).toBe(0);
    const names = await readdir(directory());
    for (const name of ["libcudart", "libcublas", "libcublasLt", "libcurand"]) {
      expect(names.some((file) => file.startsWith(`${name}.so.1`))).toBe(true);
    }
    expect(names).toEqual(expect.arrayContaining(["libnvrtc.so.13", "libnvrtc-builtins.so.13.2"]));
    expect(names.length).toBe(8);
    expect(printed).not.toContain("not found");
    const before = asked.length;
    expect(await setup(options)).toBe(0);
    expect(asked.length).toBe(before);
  });
});

describe("setupCuda on Windows", () => {
  const windows = { platform: "win32/x64" };
  const [shared = "", cuda = ""] = providerFiles("win32");
  const dll = (major: 12 | 13) =>
    Buffer.concat([
      randomBytes(100_000),
      Buffer.from(`\0cudart64_${major}.dll\0\0${ORT_VERSION}\0`),
    ]);

  it("takes NuGet's package for Windows, and CUDA's libraries from wheels for it", async () => {
    const at = (name: string) => `runtimes/win-x64/native/${name}`;
    const archive = zip({ [at(shared)]: Buffer.from("shared"), [at(cuda)]: dll(13) });
    const id = "microsoft.ml.onnxruntime.gpu.windows";
    const page = (name: string) =>
      Buffer.from(
        ["manylinux_2_27_x86_64", "win_amd64"]
          .map((tag) => `<a href="/f/${name}-py3-none-${tag}.whl">x</a>`)
          .join("\n"),
      );
    const wheel = (...names: string[]) =>
      zip(
        Object.fromEntries(
          names.map((name) => [`nvidia/cu13/bin/x86_64/${name}`, Buffer.from(name)]),
        ),
      );
    const { url, asked } = await serve({
      [`/feed/${id}/${ORT_VERSION}/${id}.${ORT_VERSION}.nupkg`]: archive,
      "/simple/nvidia-cuda-runtime/": page("nvidia_cuda_runtime-13.0.48"),
      "/simple/nvidia-cublas/": page("nvidia_cublas-13.0.0.19"),
      "/simple/nvidia-curand/": page("nvidia_curand-10.4.0.35"),
      "/simple/nvidia-cuda-nvrtc/": page("nvidia_cuda_nvrtc-13.0.48"),
      "/f/nvidia_cuda_runtime-13.0.48-py3-none-win_amd64.whl": wheel("cudart64_13.dll"),
      "/f/nvidia_cublas-13.0.0.19-py3-none-win_amd64.whl": wheel(
        "cublas64_13.dll",
        "cublasLt64_13.dll",
      ),
      "/f/nvidia_curand-10.4.0.35-py3-none-win_amd64.whl": wheel("curand64_10.dll"),
      "/f/nvidia_cuda_nvrtc-13.0.48-py3-none-win_amd64.whl": wheel(
        "nvrtc64_130_0.dll",
        "nvrtc-builtins64_130.dll",
      ),
    });
    const mirror = `${url}/feed`;
    expect(await setup({ ...windows, mirror, libraries: true, pypi: `${url}/simple` })).toBe(0);
    expect((await readdir(directory())).toSorted()).toEqual(
      [
        ...[cuda, shared, "cudart64_13.dll", "cublas64_13.dll", "cublasLt64_13.dll"],
        ...["curand64_10.dll", "nvrtc64_130_0.dll", "nvrtc-builtins64_130.dll"],
      ].toSorted(),
    );
    expect(asked.filter((line) => line.includes("manylinux"))).toEqual([]);
    expect(printed).not.toContain("not found");
  });

  it("takes the release's own zip for CUDA 12, whatever slashes it has", async () => {
    const inside = `onnxruntime-win-x64-gpu-${ORT_VERSION}`;
    const archive = zip({
      [`${inside}\\lib\\${shared}`]: Buffer.from("shared"),
      [`${inside}/lib/${cuda}`]: dll(12),
    });
    const { url } = await serve({
      [`/onnxruntime-win-x64-gpu_cuda12-${ORT_VERSION}.zip`]: archive,
    });
    expect(await setup({ ...windows, cuda: 12, mirror: url })).toBe(0);
    expect((await readdir(directory(12))).toSorted()).toEqual([cuda, shared].toSorted());
    expect(printed).toMatch(/cudart64_12\.dll[\s\S]*--libraries/);
  });

  it("refuses a provider for Linux", async () => {
    const { url } = await serve({ "/x.nupkg": nupkg() });
    expect(await setup({ ...windows, mirror: `${url}/x.nupkg` })).toBe(1);
    expect(printed).toContain(`it has no ${shared} and no ${cuda}`);
  });
});

describe("chooseCuda", () => {
  it.each([
    [undefined, { driver: "580.65.06", complete: [] }, 13, "takes CUDA 13"],
    [undefined, { driver: "550.54.14", complete: [] }, 12, "older than 580"],
    [undefined, { driver: "581.29", complete: [12] as const }, 12, "libraries of CUDA 12 are here"],
    [undefined, { driver: "581.29", complete: [12, 13] as const }, 13, "takes CUDA 13"],
    [undefined, NO_DRIVER, 13, "no NVIDIA driver"],
    [12 as const, { driver: "580.65.06", complete: [13] as const }, 12, "--cuda"],
  ])("asked %s, with %j: %i", (asked, facts, cuda, why) => {
    const choice = chooseCuda(asked, facts);
    expect(choice.cuda).toBe(cuda);
    expect(choice.why).toMatchObject({ en: expect.stringContaining(why), zh: expect.any(String) });
  });

  it("says that a driver is too old for anything", async () => {
    const { url } = await serve({ "/x.nupkg": nupkg(library(ORT_VERSION, 12)) });
    const facts = { driver: "470.82.01", complete: [] };
    expect(await setup({ mirror: `${url}/x.nupkg`, facts })).toBe(0);
    expect(printed).toContain("the driver 470.82.01 is too old for CUDA 12: update it");
  });
});

describe("the runtime", () => {
  it("loads its core from beside an installed provider, so that it finds it", async () => {
    vi.stubEnv("NAPCAT_VLM_ORT", "");
    for (const name of ["XDG_CACHE_HOME", "LOCALAPPDATA"]) vi.stubEnv(name, cacheDir);
    vi.stubEnv("HOME", cacheDir);
    expect(findCore()).toBe(corePath());
    const place = providerDirectory(ORT_VERSION, 13);
    await mkdir(place, { recursive: true });
    const [shared = "", cuda = ""] = providerFiles();
    await writeFile(join(place, cuda), "x");
    expect(findCore()).toBe(corePath());
    await writeFile(join(place, shared), "x");
    const core = findCore();
    expect(core).toContain(place);
    expect(findCore()).toBe(core);
    if (process.platform !== "win32") expect(await realpath(core)).toBe(await realpath(corePath()));
  });
});
