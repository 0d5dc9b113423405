// Is this Node.js new enough?

import type { Finding } from "./finding.ts";

const MIN_NODE = [20, 19];

export function checkNode(): Finding {
  const [major = 0, minor = 0] = process.versions.node.split(".").map(Number);
  const [minMajor = 0, minMinor = 0] = MIN_NODE;
  const enough = major > minMajor || (major === minMajor && minor >= minMinor);
  const what = "Node.js";
  const found = `${process.version} (${process.platform} ${process.arch})`;
  if (enough) return { verdict: "ok", what, found };
  const least = MIN_NODE.join(".");
  return {
    verdict: "fail",
    what,
    found,
    advice: { zh: `需要 ${least} 或更高`, en: `It has to be ${least} or newer.` },
  };
}
