// How a process died, in words. In: exit code or signal. Out: what happened and what to do, for the report.

import type { Finding, Text } from "./finding.ts";
import type { Ended } from "./isolated.ts";

interface Death {
  readonly what: Text;
  readonly advice: Text;
}

const ILLEGAL_INSTRUCTION: Death = {
  what: { zh: "处理器不认识某条指令", en: "the processor does not know an instruction" },
  advice: {
    zh: "这个 CPU（或虚拟机提供的 CPU）太旧。虚拟机请把 CPU 类型设为 host，否则换一台机器",
    en: "This CPU, or what a virtual machine shows of it, is too old. Set the VM's CPU type to host, or use another machine.",
  },
};
const BAD_ACCESS: Death = {
  what: { zh: "访问了不该访问的内存", en: "it touched memory that is not its own" },
  advice: {
    zh: "删除 node_modules 后重新安装；更新显卡驱动；仍然如此请附上这份报告反馈",
    en: "Remove node_modules and install again; update the graphics driver; if it stays, report it together with this report.",
  },
};
const GAVE_UP: Death = {
  what: { zh: "自己中止了", en: "it gave up" },
  advice: BAD_ACCESS.advice,
};
const NO_LIBRARY: Death = {
  what: { zh: "缺少 DLL 或无法初始化", en: "a DLL is missing or does not start" },
  advice: {
    zh: "安装 Visual C++ 2015-2022 运行库：https://aka.ms/vs/17/release/vc_redist.x64.exe",
    en: "Install the Visual C++ 2015-2022 redistributable: https://aka.ms/vs/17/release/vc_redist.x64.exe",
  },
};
const KILLED: Death = {
  what: { zh: "被系统结束", en: "the system ended it" },
  advice: {
    zh: "很可能是内存不足：关掉别的程序，或放宽容器的内存限制",
    en: "Most likely too little memory: end other programs, or raise the memory limit of the container.",
  },
};

/** Signals of Unix, and what Windows has instead: status codes of the system as exit codes. */
const DEATHS: Readonly<Record<string, Death>> = {
  SIGILL: ILLEGAL_INSTRUCTION,
  "132": ILLEGAL_INSTRUCTION,
  "3221225501": ILLEGAL_INSTRUCTION, // 0xC000001D
  SIGSEGV: BAD_ACCESS,
  SIGBUS: BAD_ACCESS,
  "139": BAD_ACCESS,
  "3221225477": BAD_ACCESS, // 0xC0000005
  SIGABRT: GAVE_UP,
  SIGTRAP: GAVE_UP,
  "134": GAVE_UP,
  "3221226505": GAVE_UP, // 0xC0000409
  "3221225781": NO_LIBRARY, // 0xC0000135
  "3221225785": NO_LIBRARY, // 0xC0000139
  "3221225794": NO_LIBRARY, // 0xC0000142
  SIGKILL: KILLED,
  "137": KILLED,
};

export function describeCrash(ended: Omit<Ended, "findings">): Pick<Finding, "found" | "advice"> {
  if (ended.timedOut) {
    return {
      found: { zh: "没有在限定时间内结束", en: "did not end in time" },
      advice: {
        zh: "更新显卡驱动，或改用 --device cpu",
        en: "Update the graphics driver, or use --device cpu.",
      },
    };
  }
  const name = ended.signal ?? String(ended.code);
  const death = DEATHS[name];
  const { zh, en } = inBoth(death?.what ?? lastLine(ended.stderr));
  return {
    found: {
      zh: `检查进程崩溃（${name}）${zh && `：${zh}`}`,
      en: `the process of this check crashed (${name})${en && `: ${en}`}`,
    },
    advice: death?.advice ?? BAD_ACCESS.advice,
  };
}

function inBoth(text: Text): Readonly<Record<"zh" | "en", string>> {
  return typeof text === "string" ? { zh: text, en: text } : text;
}

/** The line with the error of a stack, or whatever came last. */
function lastLine(stderr: string): string {
  const lines = stderr.split("\n").map((line) => line.trim());
  const said = lines.filter((line) => line !== "" && !/^(at |Node\.js v)/.test(line));
  return said.findLast((line) => /Error\b/.test(line)) ?? said.at(-1) ?? "";
}
