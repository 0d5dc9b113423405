// An answer as it is written, with a time limit. What a Thinking model thinks goes to stderr.
import { readFile } from "node:fs/promises";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const [file = "photo.jpg"] = process.argv.slice(2);

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const stream = model.stream({
  messages: [
    {
      role: "user",
      content: [
        { type: "image", data: await readFile(file) },
        { type: "text", text: "图里有什么？" },
      ],
    },
  ],
  maxTokens: 200,
  signal: AbortSignal.timeout(120_000), // aborting rejects with the signal's reason
});
for await (const part of stream) {
  if (part.type === "reasoning-delta") process.stderr.write(part.text);
  if (part.type === "text-delta") process.stdout.write(part.text);
  if (part.type === "finish") console.log(`\n${Math.round(part.timings.totalMs)} ms`);
}
await model.dispose();
