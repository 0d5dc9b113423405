// Which model to take on this machine, for the report. In: a measured profile. Out: one finding. Runs in the process that
// measured.

import { parseConfig } from "../../vlm/checkpoint/config.ts";
import type { MachineProfile } from "../../vlm/machine/machine-profile.ts";
import { expectModel, type Recommendation, recommend } from "../../vlm/machine/recommendation.ts";
import { freeMemory } from "../../vlm/runtime/free-memory.ts";
import { configOf } from "../bench/shapes.ts";
import type { Finding } from "./finding.ts";

const SIZES = ["2b", "4b", "8b"] as const;

/** @param free bytes that a model may take */
export function recommendModel(profile: MachineProfile, free = freeMemory()): Finding {
  const what = { zh: "建议", en: "Recommended" };
  const expected = SIZES.map((size) => {
    const config = parseConfig(configOf(size), size);
    return expectModel(profile, { name: `Qwen3-VL-${size.toUpperCase()}`, config }, free);
  });
  const best = recommend(expected);
  if (best === undefined) {
    const [smallest] = expected;
    const needed = ((smallest?.memoryBytes ?? 0) / 1e9).toFixed(1);
    return {
      verdict: "warn",
      what,
      found: {
        zh: `内存不够：最小的 2B 需要 ${needed} GB，可用 ${(free / 1e9).toFixed(1)} GB`,
        en: `no model fits: a 2B takes ${needed} GB and ${(free / 1e9).toFixed(1)} GB is free`,
      },
      advice: {
        zh: "释放内存，或用别处的模型（openAiVlm）",
        en: "Free some memory, or use a model elsewhere (openAiVlm).",
      },
    };
  }
  const others = expected.filter((each) => each !== best);
  return {
    verdict: "ok",
    what,
    found: {
      zh: `${inChinese(best)}；其他：${others.map(inChinese).join("；")}`,
      en: `${inEnglish(best)}; others: ${others.map(inEnglish).join("; ")}`,
    },
  };
}

function inChinese(model: Recommendation): string {
  const { name, precision, contextTokens, maxImageTokens, kvPrecision } = model;
  const { chunkTokens, mostConcurrent } = model.runs;
  const { seconds, speed, memory } = shown(model);
  const verdict = model.fits ? "" : "（内存不够）";
  return (
    `${name} ${precision}${verdict}，上下文 ${contextTokens}，每张图 ${maxImageTokens} token，` +
    `首字约 ${seconds} 秒，每秒 ${speed} token，内存 ${memory} GB；` +
    `键和值 ${kvPrecision}，提示每次 ${chunkTokens} token，最多同时 ${mostConcurrent} 个回答`
  );
}

function inEnglish(model: Recommendation): string {
  const { name, precision, contextTokens, maxImageTokens, kvPrecision } = model;
  const { chunkTokens, mostConcurrent } = model.runs;
  const { seconds, speed, memory } = shown(model);
  const verdict = model.fits ? "" : " (does not fit)";
  return (
    `${name} ${precision}${verdict}, context ${contextTokens}, ${maxImageTokens} tokens a picture, ` +
    `first word after ${seconds} s, ${speed} tokens a second, ${memory} GB, ` +
    `keys and values in ${kvPrecision}, prompts in pieces of ${chunkTokens}, up to ${mostConcurrent} answers at once`
  );
}

function shown({ firstTokenMs, tokensPerSecond, memoryBytes }: Recommendation) {
  return {
    seconds: (firstTokenMs / 1000).toFixed(1),
    speed: tokensPerSecond.toFixed(tokensPerSecond < 10 ? 1 : 0),
    memory: (memoryBytes / 1e9).toFixed(1),
  };
}
