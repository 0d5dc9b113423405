// Causes that lie in the system: processor, C library, runtime of the compiler. In: what the loader said and what the
// machine is like. Out: a diagnosis, or undefined when it is not that.

import type { Diagnosis, NativeFailure } from "./diagnosis.ts";
import { isNotInstalled } from "./installation-causes.ts";

export function oldCpu({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  if (!/v2 microarchitecture|Unsupported CPU|illegal instruction/i.test(said)) return undefined;
  const lacks = facts.lacksV2.length > 0 ? ` (${facts.lacksV2.join(" ")})` : "";
  return {
    cause: "cpu-too-old",
    en: {
      sentence: `${part} cannot be loaded, because this CPU lacks instructions of x86-64-v2${lacks}.`,
      remedy:
        "In a virtual machine (Proxmox's kvm64, for one) set the CPU type to host; else use another machine.",
    },
    zh: {
      sentence: `无法加载 ${part}：这个 CPU 缺少 x86-64-v2 指令${lacks}。`,
      remedy: "如果是虚拟机（例如 Proxmox 的 kvm64），把 CPU 类型设为 host；否则换一台机器。",
    },
  };
}

export function musl({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  const text = /ld-linux-[\w-]+\.so|Error relocating|libc\.musl|: symbol not found/i.test(said);
  if (facts.platform !== "linux" || !(facts.musl || text)) return undefined;
  if (isNotInstalled(said)) return undefined;
  return {
    cause: "musl",
    en: {
      sentence: `${part} cannot be loaded, because this Linux has musl as its C library (Alpine, for one) and ONNX Runtime is built for glibc.`,
      remedy: "Use a Debian-based image such as node:22-bookworm-slim; gcompat does not help.",
    },
    zh: {
      sentence: `无法加载 ${part}：这个 Linux 的 C 库是 musl（例如 Alpine），而 ONNX Runtime 需要 glibc。`,
      remedy: "请改用基于 Debian 的镜像，例如 node:22-bookworm-slim；安装 gcompat 没有用。",
    },
  };
}

export function oldGlibc({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  const needed = highest(said, /GLIBC_(\d+(?:\.\d+)+)'? not found/g);
  if (needed === undefined) return undefined;
  const found = facts.glibc ?? "?";
  return {
    cause: "glibc-too-old",
    en: {
      sentence: `${part} cannot be loaded, because it needs glibc ${needed} and this system has ${found}.`,
      remedy:
        "Use a newer distribution (Debian 12, Ubuntu 22.04 or later), or a container such as node:22-bookworm-slim.",
    },
    zh: {
      sentence: `无法加载 ${part}：它需要 glibc ${needed}，而系统里是 ${found}。`,
      remedy:
        "请换用更新的发行版（Debian 12、Ubuntu 22.04 或更高），或使用容器 node:22-bookworm-slim。",
    },
  };
}

function highest(text: string, pattern: RegExp): string | undefined {
  const versions = [...text.matchAll(pattern)].map(([, version = ""]) => version);
  const parts = (version: string) => version.split(".").map(Number);
  return versions
    .toSorted((a, b) => {
      const [x, y] = [parts(a), parts(b)];
      return (x[0] ?? 0) - (y[0] ?? 0) || (x[1] ?? 0) - (y[1] ?? 0);
    })
    .at(-1);
}

export function oldLibstdcxx({ part }: NativeFailure, said: string): Diagnosis | undefined {
  const needed = /((?:GLIBCXX|CXXABI)_[\d.]+)'? not found/.exec(said)?.[1];
  const absent = /libstdc\+\+\.so\.6: cannot open shared object file/.test(said);
  if (needed === undefined && !absent) return undefined;
  return {
    cause: "libstdcxx-too-old",
    en: {
      sentence: absent
        ? `${part} cannot be loaded, because libstdc++ is not installed.`
        : `${part} cannot be loaded, because it needs ${needed} and this system's libstdc++ is older.`,
      remedy:
        "Install or update libstdc++ (Debian: apt install libstdc++6); if an older one comes from LD_LIBRARY_PATH or conda, take that away.",
    },
    zh: {
      sentence: absent
        ? `无法加载 ${part}：没有安装 libstdc++。`
        : `无法加载 ${part}：它需要 ${needed}，而系统的 libstdc++ 太旧。`,
      remedy:
        "安装或更新 libstdc++（Debian：apt install libstdc++6）；如果旧版本来自 LD_LIBRARY_PATH 或 conda，请去掉它。",
    },
  };
}

export function oldMacOs({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  const pattern = /built for (?:newer )?macOS|newer than running OS|Symbol not found/i;
  if (facts.platform !== "darwin" || !pattern.test(said)) return undefined;
  return {
    cause: "macos-too-old",
    en: {
      sentence: `${part} cannot be loaded, because it is built for a newer macOS than this one.`,
      remedy: "Update macOS, or run the bot on another machine.",
    },
    zh: {
      sentence: `无法加载 ${part}：它是为更新的 macOS 构建的。`,
      remedy: "请更新 macOS，或在另一台机器上运行。",
    },
  };
}

export function visualC({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  if (facts.platform !== "win32") return undefined;
  // Windows says these in its own language.
  const pattern =
    /specified (?:module|procedure) could not be found|initialization routine failed|找不到指定的(?:模块|程序)|初始化例程失败/i;
  if (!pattern.test(said) && facts.lacksVisualC.length === 0) return undefined;
  if (isNotInstalled(said)) return undefined;
  const lacks = facts.lacksVisualC.length > 0 ? ` (${facts.lacksVisualC.join(", ")})` : "";
  const url = `https://aka.ms/vs/17/release/vc_redist.${facts.arch === "arm64" ? "arm64" : "x64"}.exe`;
  return {
    cause: "visual-c-missing",
    en: {
      sentence: `${part} cannot be loaded, because the Visual C++ runtime is missing or too old${lacks}.`,
      remedy: `Install the Visual C++ 2015-2022 redistributable and start again: ${url}`,
    },
    zh: {
      sentence: `无法加载 ${part}：缺少 Visual C++ 运行库，或版本太旧${lacks}。`,
      remedy: `安装 Visual C++ 2015-2022 运行库后重新启动：${url}`,
    },
  };
}
