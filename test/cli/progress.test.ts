import { afterEach, describe, expect, it, vi } from "vitest";
import { showProgress } from "../../src/cli/progress.ts";

function capture(): () => string {
  let printed = "";
  vi.spyOn(process.stdout, "write").mockImplementation((text) => {
    printed += String(text);
    return true;
  });
  return () => printed;
}

afterEach(() => vi.restoreAllMocks());

describe("showProgress", () => {
  it("prints a line for every tenth without a terminal", () => {
    const printed = capture();
    const progress = showProgress(false);
    for (let done = 0; done <= 200; done++) {
      progress.show({ type: "convert", done: done * 1e6, total: 200e6 });
    }
    progress.show({ type: "load", part: "vision-encoder" });
    progress.show({ type: "load", part: "decoder" });
    progress.end();
    const lines = printed().trimEnd().split("\n");
    expect(lines).toHaveLength(12);
    expect(lines[1]).toBe("转换模型 converting 10% · 20/200 MB");
    expect(lines[10]).toBe("转换模型 converting 100% · 200/200 MB");
    expect(lines[11]).toBe("加载模型 loading …");
    expect(printed()).not.toContain("\u001b");
  });

  it("survives a total of nothing", () => {
    const printed = capture();
    showProgress(false).show({ type: "convert", done: 0, total: 0 });
    expect(printed()).toBe("转换模型 converting 0% · 0.0/0.0 MB\n");
  });
});
