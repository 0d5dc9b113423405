// `napcat-vlm/ai-sdk`: any VisionLanguageModel as a language model of the AI SDK (packages `ai` 6 and 7).

export { type Qwen3VlSettings, qwen3Vl } from "./language-model.ts";
