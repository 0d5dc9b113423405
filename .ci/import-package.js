// Runs in an empty project that installed the packed tarball: every subpath must import and export what it promises.
// CI copies nothing into that project, so the imports are resolved from its own node_modules.
import { createRequire } from "node:module";
import { join } from "node:path";
import { pathToFileURL } from "node:url";

const resolveFrom = createRequire(join(process.cwd(), "package.json"));
const promised = {
  "napcat-vlm": ["installVlm", "connectNapCat"],
  "napcat-vlm/vlm": ["loadQwen3Vl", "convertCheckpoint", "isVlmError"],
  "napcat-vlm/ai-sdk": ["qwen3Vl"],
  "napcat-vlm/remote": ["openAiVlm", "fallback"],
  "napcat-vlm/testing": ["FakeNapCat"],
  "napcat-vlm/vlm/testing": ["FakeVisionLanguageModel"],
};
let failed = 0;
for (const [subpath, names] of Object.entries(promised)) {
  const module = await import(pathToFileURL(resolveFrom.resolve(subpath)).href);
  const missing = names.filter((name) => typeof module[name] !== "function");
  console.log(
    `${subpath}: ${Object.keys(module).length} exports${missing.length ? `, missing ${missing.join(", ")}` : ""}`,
  );
  failed += missing.length;
}
process.exitCode = failed ? 1 : 0;
