// Why a native library cannot be loaded, in one sentence, and what to do about it. In: the library, the error that came,
// facts about the machine. Out: a cause, the same in errors and in `doctor`, in both languages. It loads nothing.

import {
  blocked,
  missingFile,
  missingLibrary,
  notInstalled,
  otherPlatform,
  packed,
} from "./installation-causes.ts";
import type { Host, PlatformFacts } from "./platform.ts";
import { musl, oldCpu, oldGlibc, oldLibstdcxx, oldMacOs, visualC } from "./system-causes.ts";

/** The libraries, by the names that people know them by. */
export type NativePart =
  | "ONNX Runtime"
  | "koffi"
  | "sharp"
  | "@huggingface/transformers"
  | "napcat-vlm";

export type NativeCause =
  | "host-unsupported"
  | "musl"
  | "glibc-too-old"
  | "libstdcxx-too-old"
  | "visual-c-missing"
  | "cpu-too-old"
  | "other-onnxruntime"
  | "other-platform"
  | "not-installed"
  | "file-missing"
  | "library-missing"
  | "blocked"
  | "macos-too-old"
  | "packed"
  | "unknown";

export interface Explanation {
  /** What is wrong, with what was found. One sentence. */
  readonly sentence: string;
  /** The way out. */
  readonly remedy: string;
}

export interface Diagnosis {
  readonly cause: NativeCause;
  readonly en: Explanation;
  readonly zh: Explanation;
}

export interface NativeFailure {
  readonly part: NativePart;
  readonly error: unknown;
  readonly facts: PlatformFacts;
  /** The file that was to be loaded, and whether it is there. */
  readonly file?: { readonly path: string; readonly exists: boolean };
}

/** The program that runs this code cannot carry the libraries: known before anything is loaded. */
export function diagnoseHost(host: Host): Diagnosis | undefined {
  if (host === "node") return undefined;
  const name = { bun: "Bun", deno: "Deno", electron: "Electron" }[host];
  const why =
    host === "electron"
      ? {
          en: "Electron allows no memory outside its own heap",
          zh: "Electron 不允许使用自身堆以外的内存",
        }
      : { en: "its native interface differs from Node's", zh: "它的原生接口与 Node 不同" };
  return {
    cause: "host-unsupported",
    en: {
      sentence: `This program runs on ${name}, where the model cannot be loaded: ${why.en}.`,
      remedy: `Run it with Node.js 20.19 or newer, in a process of its own if ${name} is needed too.`,
    },
    zh: {
      sentence: `当前程序运行在 ${name} 上，无法加载模型：${why.zh}。`,
      remedy: `请用 Node.js 20.19 或更高版本运行；若同时需要 ${name}，把机器人放在单独的 Node 进程里。`,
    },
  };
}

/** Finds the cause by what the loader said, then by what the machine is like. */
export function diagnose(failure: NativeFailure): Diagnosis {
  const said = allMessages(failure.error);
  for (const rule of RULES) {
    const found = rule(failure, said);
    if (found !== undefined) return found;
  }
  return unknown(failure, said);
}

type Rule = (failure: NativeFailure, said: string) => Diagnosis | undefined;

/** In order: what is certain first. */
const RULES: readonly Rule[] = [
  ({ facts }) => diagnoseHost(facts.host),
  oldCpu,
  otherRuntime,
  oldGlibc,
  musl,
  oldLibstdcxx,
  otherPlatform,
  oldMacOs,
  blocked,
  missingFile,
  visualC,
  missingLibrary,
  notInstalled,
  packed,
];

function otherRuntime({ part, facts }: NativeFailure, said: string): Diagnosis | undefined {
  const versions = /(\S+): version [`'"]?VERS_([\d.]+)'? not found/.exec(said);
  // Windows names no version: a function that the older library lacks.
  const procedure = /specified procedure could not be found|找不到指定的程序/.test(said);
  if (!versions && !(procedure && facts.onnxRuntimes.length > 0)) return undefined;
  const [, named, expected = "of another version"] = versions ?? [];
  const other = facts.onnxRuntimes.find(({ path }) => path === named) ?? facts.onnxRuntimes[0];
  return otherOnnxRuntime({
    part,
    expected,
    found: other?.version,
    from: named ?? other?.path,
  });
}

export interface OtherOnnxRuntime {
  readonly part: NativePart;
  readonly expected: string;
  /** Undefined when nobody can tell. */
  readonly found: string | undefined;
  /** Where the other one was loaded from, if known. */
  readonly from: string | undefined;
}

/** Another ONNX Runtime is in this process, or in the place of the right one. */
export function otherOnnxRuntime({ part, expected, found, from }: OtherOnnxRuntime): Diagnosis {
  const en = `${found ?? "another"}${from === undefined ? "" : ` (${from})`}`;
  const zh = `${found ?? "另一个版本"}${from === undefined ? "" : `（${from}）`}`;
  return {
    cause: "other-onnxruntime",
    en: {
      sentence: `${part} needs ONNX Runtime ${expected}, but this process has ${en}.`,
      remedy:
        "Another package brings its own: see `npm ls onnxruntime-node`, make it use the same version " +
        `(\`overrides\` in package.json), or run the model in a process of its own. ` +
        "If it is the only one, run `npm ci` again.",
    },
    zh: {
      sentence: `${part} 需要 ONNX Runtime ${expected}，但进程里的是 ${zh}。`,
      remedy:
        "另一个包带来了自己的版本：用 `npm ls onnxruntime-node` 查看，让它使用同一版本" +
        "（package.json 的 `overrides`），或者把模型放在单独的进程里。" +
        "如果只有这一个，重新运行 `npm ci`。",
    },
  };
}

function unknown({ part, file }: NativeFailure, said: string): Diagnosis {
  const from = file === undefined ? "" : ` (${file.path})`;
  const line = said.split("\n")[0]?.slice(0, 200) ?? "";
  return {
    cause: "unknown",
    en: {
      sentence: `${part} could not be loaded${from}: ${line || "no reason was given"}.`,
      remedy:
        "Run `npm ci` again on this machine; if it stays, report it with what `napcat-vlm doctor` prints.",
    },
    zh: {
      sentence: `无法加载 ${part}${from}：${line || "没有给出原因"}。`,
      remedy: "在这台机器上重新运行 `npm ci`；仍然如此请附上 `napcat-vlm doctor` 的输出反馈。",
    },
  };
}

/** What an error and its causes say, with their codes: loaders wrap each other. */
function allMessages(error: unknown): string {
  const lines: string[] = [];
  for (let depth = 0, at: unknown = error; at !== undefined && depth < 5; depth++) {
    if (!(at instanceof Error)) {
      lines.push(String(at));
      break;
    }
    const { code } = at as NodeJS.ErrnoException;
    lines.push(at.message, ...(code === undefined ? [] : [String(code)]));
    at = at.cause;
  }
  return lines.join("\n");
}
