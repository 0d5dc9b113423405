// What the processor can do for a neural network.

import { availableParallelism, cpus } from "node:os";
import { type CpuFeatures, readCpuFeatures } from "../cpu-features.ts";
import type { Finding } from "./finding.ts";

export function checkProcessor(): Finding {
  return judgeProcessor(readCpuFeatures());
}

function judgeProcessor(features: CpuFeatures, architecture = process.arch): Finding {
  const what = { zh: "处理器", en: "CPU" };
  const model = cpus()[0]?.model.trim() || architecture;
  const names = features.known ? features.names.join(" ") || "-" : "?";
  const threads = availableParallelism();
  const found = {
    zh: `${model}，${threads} 线程，${names}`,
    en: `${model}, ${threads} threads, ${names}`,
  };
  const weak = features.known && architecture === "x64" && !features.names.includes("AVX2");
  if (!weak) return { verdict: "ok", what, found };
  return {
    verdict: "warn",
    what,
    found,
    advice: { zh: "没有 AVX2，会很慢", en: "Without AVX2 it will be slow." },
  };
}
