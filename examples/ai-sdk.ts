// The model behind the AI SDK: `npm install ai`, then whatever the SDK can do.
import { readFile } from "node:fs/promises";
import { generateText } from "ai";
import { qwen3Vl } from "napcat-vlm/ai-sdk";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const [file = "photo.jpg"] = process.argv.slice(2);

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const { text } = await generateText({
  model: qwen3Vl(model),
  messages: [
    {
      role: "user",
      content: [
        { type: "image", image: await readFile(file) },
        { type: "text", text: "图里有什么？" },
      ],
    },
  ],
});
console.log(text);
await model.dispose();
