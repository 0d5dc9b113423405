import { describe, expect, it } from "vitest";
import { systemLanguage } from "../../src/cli/language.ts";

describe("systemLanguage", () => {
  it.each([
    [{ LANG: "zh_CN.UTF-8" }, "zh"],
    [{ LANG: "en_US.UTF-8" }, "en"],
    [{ LC_ALL: "", LANG: "zh_CN.UTF-8" }, "zh"],
    [{ LC_MESSAGES: "zh_TW", LANG: "en_US.UTF-8" }, "zh"],
    [{ LC_ALL: "C", LANG: "zh_CN.UTF-8" }, "en"],
    [{ LANG: "zha_XX" }, "en"],
  ] as const)("of %j is %s", (env, language) => {
    expect(systemLanguage(env, "fr-FR")).toBe(language);
  });

  it("is what the system says where no variable does", () => {
    expect(systemLanguage({}, "zh-CN")).toBe("zh");
    expect(systemLanguage({ LANG: "" }, "zh")).toBe("zh");
    expect(systemLanguage({}, "en-US")).toBe("en");
  });
});
