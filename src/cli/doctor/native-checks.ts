// The checks that load native libraries, by name: each runs in a process of its own. Nothing is imported before it is
// asked for, since importing is what may crash.

import type { Check, Text } from "./finding.ts";

export interface NativeCheck {
  /** What the report calls it when its process died and it could say nothing itself. */
  readonly what: Text;
  readonly load: () => Promise<Check>;
}

export const NATIVE_CHECKS = {
  runtime: {
    what: "ONNX Runtime",
    load: async () => (await import("./check-runtime.ts")).checkRuntime,
  },
  speed: {
    what: { zh: "速度", en: "Speed" },
    load: async () => (await import("./check-speed.ts")).checkSpeed,
  },
  device: {
    what: { zh: "设备", en: "Device" },
    load: async () => (await import("./check-device.ts")).checkDevice,
  },
  pictures: {
    what: { zh: "图片解码", en: "Pictures" },
    load: async () => (await import("./check-pictures.ts")).checkPictures,
  },
  tokenizer: {
    what: { zh: "分词器", en: "Tokenizer" },
    load: async () => (await import("./check-tokenizer.ts")).checkTokenizer,
  },
} as const satisfies Readonly<Record<string, NativeCheck>>;

export type NativeCheckName = keyof typeof NATIVE_CHECKS;
