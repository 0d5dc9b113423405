// A model in this process, and an engine elsewhere for when this one has enough to do or fails.
import { readFile } from "node:fs/promises";
import { fallback, openAiVlm } from "napcat-vlm/remote";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const [file = "photo.jpg"] = process.argv.slice(2);

const here = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const elsewhere = openAiVlm({
  baseURL: process.env.VLM_SERVER ?? "http://127.0.0.1:8000/v1",
  apiKey: process.env.OPENAI_API_KEY,
});
const model = fallback([{ model: here, maxRequests: 2 }, elsewhere]);

const content = [
  { type: "image" as const, data: await readFile(file) },
  { type: "text" as const, text: "图里有什么？" },
];
const { text } = await model.generate({ messages: [{ role: "user", content }] });
console.log(text);
await model.dispose();
