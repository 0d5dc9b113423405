// How fast this machine multiplies and reads memory, measured in a few seconds, and which model suits it. Runs in a process
// of its own.

import { manyRowsSpeed, measureMachine } from "../../vlm/machine/machine-profile.ts";
import { adviceFor } from "./advice.ts";
import type { Finding } from "./finding.ts";
import { recommendModel } from "./recommend-model.ts";

export async function checkSpeed(): Promise<readonly Finding[]> {
  const what = { zh: "速度", en: "Speed" };
  try {
    const profile = await measureMachine();
    const rows = (["w8a8", "q4", "fp32"] as const).map((precision) => {
      const few = profile.products
        .filter((product) => product.precision === precision && product.rows <= 8)
        .map(({ rows, gigaOps }) => `${rows}: ${gigaOps.toFixed(0)}`);
      return `${precision} ${manyRowsSpeed(profile, precision).toFixed(0)} Gop/s (${few.join(", ")})`;
    });
    const attention = profile.attention.map(
      ({ cache, stepMs, chunkMs }) => `${cache} ${stepMs.toFixed(2)}, ${chunkMs.toFixed(1)} ms`,
    );
    const bandwidth = `${profile.gigaBytes.toFixed(1)} GB/s`;
    const speed: Finding = {
      verdict: "ok",
      what,
      found: {
        zh: `内存 ${bandwidth}；矩阵乘法（括号内为 1、2、4、8 行时）${rows.join("；")}；2B 一层的注意力（前有 1024 个 token 时算 1 个和 256 个）${attention.join("；")}`,
        en: `memory ${bandwidth}; products (with 1, 2, 4 and 8 rows) ${rows.join("; ")}; attention of a layer of a 2B (1 and 256 tokens behind 1024) ${attention.join("; ")}`,
      },
    };
    return [speed, recommendModel(profile)];
  } catch (error) {
    const found = { zh: "无法测量", en: "cannot be measured" };
    return [{ verdict: "warn", what, found, advice: adviceFor(error) }];
  }
}
