// What the native libraries have to live on: operating system, C library, the program that runs JavaScript.

import { release, type } from "node:os";
import { diagnoseHost } from "../../vlm/native/diagnosis.ts";
import { type PlatformFacts, readPlatform } from "../../vlm/native/platform.ts";
import type { Finding } from "./finding.ts";

export function checkSystem(): Finding {
  return judgeSystem(readPlatform());
}

function judgeSystem(facts: PlatformFacts): Finding {
  const what = { zh: "系统", en: "System" };
  const library = facts.musl ? "musl" : facts.glibc === undefined ? "" : `glibc ${facts.glibc}`;
  const host = facts.host === "node" ? "" : facts.host;
  const parts = [`${type()} ${release()}`, library, host].filter((part) => part !== "");
  const found = parts.join(", ");
  const refused = diagnoseHost(facts.host);
  if (refused !== undefined) {
    const { zh, en } = refused;
    const advice = { zh: `${zh.sentence}${zh.remedy}`, en: `${en.sentence} ${en.remedy}` };
    return { verdict: "fail", what, found, advice };
  }
  return { verdict: "ok", what, found };
}
