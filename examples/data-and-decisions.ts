// Data instead of words: a typed value from a picture, and decisions with probabilities.
import { readFile } from "node:fs/promises";
import { extract, loadQwen3Vl } from "napcat-vlm/vlm";
import { z } from "zod";

const [file = "photo.jpg"] = process.argv.slice(2);
const picture = await readFile(file);
const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });

const Picture = z.object({
  kind: z.enum(["photo", "drawing", "screenshot"]),
  colors: z.array(z.enum(["red", "green", "blue", "other"])).max(3),
});
const value = await extract(model, { schema: Picture, images: [picture], prompt: "看图" });
console.log(value.kind, value.colors);

const { decisions } = await model.decide({
  messages: [{ role: "user", content: [{ type: "image", data: picture }] }],
  questions: [
    { type: "yes-no", question: "图里有人吗？" },
    { type: "choice", question: "主要是什么颜色？", options: ["红色", "绿色", "蓝色"] },
    { type: "number", question: "图里有几个东西？", min: 0, max: 9 },
    { type: "box", question: "the largest thing" },
  ],
});
const [people, color, count, place] = decisions;
console.log(people.yes ? "有人" : "没有人", people.probability);
console.log(color.option, color.probability);
console.log(count.value, count.expected);
console.log(place.box, place.probability);
await model.dispose();
