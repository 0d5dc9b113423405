import { generateText } from "ai";
import { qwen3Vl } from "napcat-vlm/ai-sdk";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const eyes = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
console.log((await generateText({ model: qwen3Vl(eyes), prompt: "你好" })).text);
