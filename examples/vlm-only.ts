// Only the model: ask about one picture file.
import { readFile } from "node:fs/promises";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const [file = "photo.jpg", question = "图里有什么？"] = process.argv.slice(2);

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const { text, usage } = await model.generate({
  messages: [
    {
      role: "user",
      content: [
        { type: "image", data: await readFile(file) },
        { type: "text", text: question },
      ],
    },
  ],
});
console.log(text);
console.log(`${usage.imageTokens} image tokens, ${usage.completionTokens} answered`);
await model.dispose();
