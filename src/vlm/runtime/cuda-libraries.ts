// Where people have the CUDA libraries: a toolkit, wheels from pip, conda, or the loader's own list. In: a major
// version. Out: paths to load in this order, so that the provider finds them loaded already. Loads nothing.

import { existsSync, readdirSync, realpathSync } from "node:fs";
import { homedir } from "node:os";
import { dirname, join } from "node:path";

/** A library that the provider needs. */
export interface CudaLibrary {
  /** As the system's loader knows it, such as `libcudart.so.13`. */
  readonly name: string;
  /** Absolute; the bare name where only the loader itself can know. */
  readonly path: string;
  readonly found: boolean;
}

export interface LookupOptions {
  /** Looked into first: where the provider lies. */
  readonly beside: string;
  readonly environment?: NodeJS.ProcessEnv;
  readonly platform?: string;
  readonly home?: string;
  /** Root of the file system, for tests. */
  readonly root?: string;
}

/** Each library comes after those it needs itself. */
export function cudaLibraryNames(major: 12 | 13, platform: string = process.platform): string[] {
  return platform === "win32"
    ? [
        `cudart64_${major}.dll`,
        `cublasLt64_${major}.dll`,
        `cublas64_${major}.dll`,
        "curand64_10.dll",
      ]
    : [
        `libcudart.so.${major}`,
        `libcublasLt.so.${major}`,
        `libcublas.so.${major}`,
        "libcurand.so.10",
      ];
}

/**
 * CUDA's compiler, as it begins to be called, after the library that it needs itself. Their names end with a minor version,
 * and both must be of one.
 */
export function compilerNames(
  major: 12 | 13,
  platform: string = process.platform,
): readonly [builtins: string, compiler: string] {
  return platform === "win32"
    ? [`nvrtc-builtins64_${major}`, `nvrtc64_${major}0_0.dll`]
    : [`libnvrtc-builtins.so.${major}.`, `libnvrtc.so.${major}`];
}

/** Finds the libraries of a major version of CUDA. */
export function findCudaLibraries(major: 12 | 13, options: LookupOptions): CudaLibrary[] {
  const directories = [...new Set(libraryDirectories(major, options))];
  return cudaLibraryNames(major, options.platform).map((name) => {
    const directory = directories.find((candidate) => existsSync(join(candidate, name)));
    return directory === undefined
      ? { name, path: name, found: false }
      : { name, path: join(directory, name), found: true };
  });
}

/** Finds the compiler and what it needs, in one directory. Undefined where it is not installed. */
export function findCompiler(
  major: 12 | 13,
  options: LookupOptions,
): readonly string[] | undefined {
  const [builtins, compiler] = compilerNames(major, options.platform);
  for (const directory of new Set(libraryDirectories(major, options))) {
    const [beside] = namesLike(directory, builtins);
    if (beside === undefined || !existsSync(join(directory, compiler))) continue;
    return [join(directory, beside), join(directory, compiler)];
  }
  return undefined;
}

/** All directories worth a look, the likeliest first. */
function libraryDirectories(major: 12 | 13, options: LookupOptions): string[] {
  const { beside, environment = process.env, platform = process.platform, root = "" } = options;
  const home = options.home ?? homedir();
  const windows = platform === "win32";
  const named = listed(windows ? environment.PATH : environment.LD_LIBRARY_PATH, windows);
  const toolkits = [
    environment.CUDA_PATH,
    environment.CUDA_HOME,
    ...versioned(environment, major),
    ...(windows ? windowsToolkits(environment, major) : []),
  ];
  const inToolkit = (toolkit: string) =>
    windows ? [join(toolkit, "bin", "x64"), join(toolkit, "bin")] : [join(toolkit, "lib64")];
  const wheels = sitePackages(environment, home, root, windows).flatMap((site) =>
    wheelDirectories(join(site, "nvidia"), major, windows),
  );
  return [
    beside,
    join(beside, "cuda"),
    ...toolkits.filter((path) => path !== undefined).flatMap(inToolkit),
    ...named,
    ...wheels,
    ...(environment.CONDA_PREFIX
      ? [join(environment.CONDA_PREFIX, windows ? "Library/bin" : "lib")]
      : []),
    ...(windows ? [] : [...namesLike(`${root}/usr/local`, `cuda-${major}`), "cuda"]).flatMap(
      (name) => inToolkit(`${root}/usr/local/${name}`),
    ),
    ...(windows ? [] : [`${root}/usr/lib/x86_64-linux-gnu`, `${root}/usr/lib64`]),
  ];
}

/** Directories of a variable such as PATH. */
function listed(variable: string | undefined, windows: boolean): string[] {
  return (variable ?? "").split(windows ? ";" : ":").filter((path) => path !== "");
}

/** Windows' installer sets a variable for each version, such as CUDA_PATH_V13_2; the newest first. */
function versioned(environment: NodeJS.ProcessEnv, major: 12 | 13): (string | undefined)[] {
  const minorOf = (name: string) => Number(/^CUDA_PATH_V(\d+)_(\d+)$/i.exec(name)?.[2]);
  return Object.keys(environment)
    .filter((name) => new RegExp(`^CUDA_PATH_V${major}_\\d+$`, "i").test(name))
    .toSorted((a, b) => minorOf(b) - minorOf(a))
    .map((name) => environment[name]);
}

/** Where that installer puts toolkits, for services, which do not have the variables of people. */
function windowsToolkits(environment: NodeJS.ProcessEnv, major: 12 | 13): string[] {
  const programs = environment.ProgramFiles ?? "C:\\Program Files";
  const toolkits = join(programs, "NVIDIA GPU Computing Toolkit", "CUDA");
  return namesLike(toolkits, `v${major}.`).map((name) => join(toolkits, name));
}

/** Wheels of CUDA 13 share a directory; those of 12 have one each. */
function wheelDirectories(nvidia: string, major: 12 | 13, windows: boolean): string[] {
  const inside = (name: string) =>
    windows
      ? [join(nvidia, name, "bin", "x86_64"), join(nvidia, name, "bin")]
      : [join(nvidia, name, "lib")];
  return [...inside(`cu${major}`), ...namesLike(nvidia, "").flatMap(inside)];
}

/** Directories that Python packages of this machine are installed into. */
export function pythonPackages(): string[] {
  return sitePackages(process.env, homedir(), "", process.platform === "win32");
}

/** Directories that Python packages are installed into: of the Python on the PATH, and of the usual places. */
function sitePackages(
  environment: NodeJS.ProcessEnv,
  home: string,
  root: string,
  windows: boolean,
): string[] {
  const programs = listed(environment.PATH, windows).flatMap((directory) =>
    windows
      ? [join(directory, "python.exe")]
      : [join(directory, "python3"), join(directory, "python")],
  );
  const pythons = programs.filter((program) => existsSync(program));
  if (windows) {
    const own = environment.APPDATA ? join(environment.APPDATA, "Python") : undefined;
    const named = [environment.VIRTUAL_ENV, environment.CONDA_PREFIX].filter(
      (prefix) => prefix !== undefined,
    );
    const prefixes = [...named, ...pythons.flatMap((at) => [dirname(at), dirname(dirname(at))])];
    return [
      ...prefixes.map((prefix) => join(prefix, "Lib", "site-packages")),
      ...(own === undefined ? [] : namesLike(own, "Python3")).map((version) =>
        join(own!, version, "site-packages"),
      ),
    ];
  }
  const prefixes = [
    environment.VIRTUAL_ENV,
    environment.CONDA_PREFIX,
    ...pythons
      .flatMap((python) => [python, realpathSync(python)])
      .map((path) => dirname(dirname(path))),
    join(home, ".local"),
    `${root}/usr/local`,
    `${root}/usr`,
  ].filter((prefix) => prefix !== undefined);
  return [...new Set(prefixes)].flatMap((prefix) =>
    namesLike(join(prefix, "lib"), "python3").flatMap((version) =>
      ["site-packages", "dist-packages"].map((name) => join(prefix, "lib", version, name)),
    ),
  );
}

/** Names in a directory that begin so; none where it cannot be read. */
function namesLike(directory: string, start: string): string[] {
  try {
    return readdirSync(directory)
      .filter((name) => name.startsWith(start))
      .toSorted()
      .toReversed();
  } catch {
    return [];
  }
}
