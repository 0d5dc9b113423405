// Causes that lie in how this package was installed: files that are missing, blocked or made for another system. In: what
// the loader said. Out: a diagnosis, or undefined when it is not that.

import type { Diagnosis, NativeFailure } from "./diagnosis.ts";

export function otherPlatform({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  const pattern =
    /wrong ELF class|invalid ELF header|is not a valid Win32 application|不是有效的 ?Win32|incompatible architecture|not a mach-o file|mach-o, but wrong architecture|Exec format error/i;
  if (!pattern.test(said)) return undefined;
  const here = `${facts.platform} ${facts.arch}`;
  return {
    cause: "other-platform",
    en: {
      sentence: `${part} cannot be loaded, because the file is damaged or made for another system than ${here}.`,
      remedy: "Remove node_modules and run `npm ci` on this machine; do not copy it from another.",
    },
    zh: {
      sentence: `无法加载 ${part}：文件已损坏，或不是为 ${here} 构建的。`,
      remedy: "删除 node_modules，在这台机器上重新运行 `npm ci`；不要从别的机器复制。",
    },
  };
}

export function blocked({ part, file }: NativeFailure, said: string): Diagnosis | undefined {
  const pattern =
    /failed to map segment|Operation not permitted|EACCES|EPERM|Permission denied|Access is denied|拒绝访问|Application Control|contains a virus|包含病毒|code signature|library load disallowed/i;
  if (!pattern.test(said)) return undefined;
  const path = file === undefined ? "" : `: ${file.path}`;
  return {
    cause: "blocked",
    en: {
      sentence: `${part} cannot be loaded, because the system does not let this file run${path}.`,
      remedy:
        "A virus scanner or policy may block it, the disk may be mounted noexec, or the file may belong to another user: allow it there, or install in another directory.",
    },
    zh: {
      sentence: `无法加载 ${part}：系统不允许执行这个文件${path}。`,
      remedy:
        "可能被杀毒软件或策略拦截、磁盘以 noexec 挂载、或文件属于别的用户：请放行，或安装到别的目录。",
    },
  };
}

export function missingFile({ part, file }: NativeFailure): Diagnosis | undefined {
  if (file === undefined || file.exists) return undefined;
  return {
    cause: "file-missing",
    en: {
      sentence: `${part} cannot be loaded, because this file is not there: ${file.path}.`,
      remedy:
        "Restore it if a virus scanner took it away (and exempt node_modules), or run `npm ci` again.",
    },
    zh: {
      sentence: `无法加载 ${part}：文件不存在：${file.path}。`,
      remedy: "如果被杀毒软件隔离，请恢复并把 node_modules 加入白名单；否则重新运行 `npm ci`。",
    },
  };
}

export function missingLibrary({ part }: NativeFailure, said: string): Diagnosis | undefined {
  const name = /([\w.+-]+\.so[\d.]*): cannot open shared object file/.exec(said)?.[1];
  const [, mac] = /Library not loaded: (\S+)/.exec(said) ?? [];
  const library = name ?? mac;
  if (library === undefined) return undefined;
  return {
    cause: "library-missing",
    en: {
      sentence: `${part} cannot be loaded, because the library ${library} is not on this system.`,
      remedy: `Install the system package that has ${library}, or run \`npm ci\` again if it belongs to this package.`,
    },
    zh: {
      sentence: `无法加载 ${part}：系统里没有 ${library}。`,
      remedy: `安装包含 ${library} 的系统软件包；如果它属于本项目，请重新运行 \`npm ci\`。`,
    },
  };
}

export function notInstalled({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  if (!isNotInstalled(said)) return undefined;
  const here = `${facts.platform} ${facts.arch}`;
  return {
    cause: "not-installed",
    en: {
      sentence: `${part} cannot be loaded, because it or its build for ${here} is not installed.`,
      remedy:
        "Run `npm ci --include=optional` on this machine (not with `--omit=optional`, and not copied from another system).",
    },
    zh: {
      sentence: `无法加载 ${part}：它或它针对 ${here} 的文件没有安装。`,
      remedy:
        "在这台机器上运行 `npm ci --include=optional`（不要加 `--omit=optional`，也不要从别的系统复制）。",
    },
  };
}

export function packed({ part, facts }: NativeFailure): Diagnosis | undefined {
  if (!facts.packed) return undefined;
  return {
    cause: "packed",
    en: {
      sentence: `${part} cannot be loaded from inside a packed executable.`,
      remedy: "Leave node_modules beside the executable, or run the bot with Node.js itself.",
    },
    zh: {
      sentence: `无法从打包后的可执行文件里加载 ${part}。`,
      remedy: "把 node_modules 放在可执行文件旁边，或直接用 Node.js 运行。",
    },
  };
}

export function isNotInstalled(said: string): boolean {
  return /MODULE_NOT_FOUND|Cannot find (?:module|package)|Cannot find the native/i.test(said);
}
