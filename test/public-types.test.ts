// The declarations as somebody's strict compiler sees them: without this project's settings, and with no library
// of types beyond Node's own.

import { execFile } from "node:child_process";
import { mkdtemp, rm, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath } from "node:url";
import { promisify } from "node:util";
import { afterAll, beforeAll, describe, expect, it } from "vitest";

const root = fileURLToPath(new URL("../", import.meta.url));
const run = promisify(execFile);

const CONSUMER = `
import { connectNapCat, installVlm, Responder, startDebugServer } from "./dist/bot/index.js";
import { FakeNapCat, groupMessage } from "./dist/bot/testing.js";
import { isVlmError, loadQwen3Vl, type StreamPart, type VisionLanguageModel } from "./dist/vlm/index.js";
import { FakeVisionLanguageModel } from "./dist/vlm/testing.js";

class OtherEngine implements VisionLanguageModel {
  readonly info = { name: "other", device: "elsewhere", contextTokens: 4096, thinking: false };
  readonly disposed = false;
  async *stream() {
    yield { type: "text-delta", text: "" } as const;
  }
  generate = () => Promise.reject(new Error("none"));
  dispose = () => Promise.resolve();
  [Symbol.asyncDispose] = () => Promise.resolve();
}

const model = new FakeVisionLanguageModel({ answer: "好" });
const napcat = connectNapCat({ url: "ws://127.0.0.1:3001" });
napcat.on("message.group", ({ group_id }) => group_id.toFixed());
installVlm(napcat, { model: new OtherEngine(), sampling: { temperature: 0 } });
const fake = new FakeNapCat();
installVlm(fake, { model });
fake.receive(groupMessage({ text: "?" }));
await startDebugServer({ responder: new Responder({ model }), model, port: 0 });
try {
  const real = await loadQwen3Vl({ model: "directory" });
  const parts: StreamPart[] = [];
  for await (const part of real.stream({ messages: [{ role: "user", content: "?" }] })) parts.push(part);
} catch (error) {
  if (isVlmError(error)) console.error(error.code);
}
`;

const CONFIG = {
  compilerOptions: {
    target: "es2022",
    lib: ["es2022"],
    module: "nodenext",
    types: ["node"],
    strict: true,
    exactOptionalPropertyTypes: true,
    noUncheckedIndexedAccess: true,
    skipLibCheck: false,
    noEmit: true,
  },
  files: ["consumer.ts"],
};

let directory: string;

// Inside node_modules, so that the packages that the declarations import are found.
beforeAll(async () => {
  directory = await mkdtemp(join(root, "node_modules", ".napcat-vlm-types-"));
  const outDir = join(directory, "dist");
  await compile("-p", "tsconfig.build.json", "--emitDeclarationOnly", "--outDir", outDir);
  await writeFile(join(directory, "package.json"), JSON.stringify({ type: "module" }));
  await writeFile(join(directory, "consumer.ts"), CONSUMER);
  await writeFile(join(directory, "tsconfig.json"), JSON.stringify(CONFIG));
});
afterAll(() => rm(directory, { recursive: true, force: true }));

/** What the compiler has to say; nothing when all is well. */
async function compile(...options: string[]): Promise<string> {
  const compiler = join(root, "node_modules", "typescript", "bin", "tsc");
  const { stdout } = await run(process.execPath, [compiler, ...options], { cwd: root }).catch(
    (error: { stdout: string }) => error,
  );
  return stdout;
}

describe("the public declarations", () => {
  it("compile in a strict project that checks its libraries too", async () => {
    expect(await compile("-p", directory)).toBe("");
  });

  it("name packages that people know, and none that only works inside", async () => {
    const files = await compile("-p", directory, "--listFilesOnly");
    const packages = ["zod", "hono", "koffi", "sharp", "undici", "lru-cache", "p-queue"];
    const named = packages.filter((name) => files.includes(`/node_modules/${name}/`));
    expect(named).toEqual([]);
  });
});
