import { readdirSync } from "node:fs";
import { getPriority } from "node:os";
import { describe, expect, it } from "vitest";
import { uselessPriority } from "../../src/vlm/runtime/compute-priority.ts";
import { loadTinyChat, userMessage } from "../support/tiny-chat.ts";

describe("computePriority", () => {
  it.runIf(process.platform === "linux")("changes who computes, and no answer", async () => {
    const own = getPriority();
    const warnings: string[] = [];
    const answers: string[] = [];
    for (const computePriority of ["normal", "low"] as const) {
      const onWarning = (warning: string) => warnings.push(warning);
      await using model = await loadTinyChat({ computePriority, onWarning });
      const giveWay = prioritiesHere().filter((nice) => nice > own).length;
      // Eyes and decoder have a thread each; at the lowest priority of all there is none below.
      if (own < 19) expect(giveWay >= 2).toBe(computePriority === "low");
      const request = { messages: [userMessage("hello")], maxTokens: 16, temperature: 0 };
      answers.push((await model.generate(request)).text);
    }
    expect(answers[1]).toBe(answers[0]);
    expect(answers[0]).not.toBe("");
    expect(warnings.filter((warning) => warning.includes("computePriority"))).toEqual([]);
    expect(getPriority()).toBe(own);
  });

  it("says where it changes nothing", () => {
    expect(uselessPriority("low", "cpu", "linux")).toBeUndefined();
    for (const system of ["darwin", "win32"]) {
      expect(uselessPriority("low", "cpu", system)).toContain("only Linux");
      expect(uselessPriority("normal", "cpu", system)).toBeUndefined();
    }
    expect(uselessPriority("low", "cuda:0", "linux")).toContain("changes nothing on cuda:0");
  });
});

/** Of the threads of this process. */
function prioritiesHere(): number[] {
  return readdirSync("/proc/self/task").flatMap((thread) => {
    try {
      return [getPriority(Number(thread))];
    } catch {
      return []; // It has ended since the list was made.
    }
  });
}
