// A QQ bot that sees, in 25 lines.
import { connectNapCat, installVlm } from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const model = await loadQwen3Vl({
  model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct",
});
const napcat = connectNapCat({
  url: process.env.NAPCAT_URL ?? "ws://127.0.0.1:3001",
  token: process.env.NAPCAT_TOKEN,
});
const bot = installVlm(napcat, {
  model,
  systemPrompt: "你是群里的看图助手。请简短地回答。",
});

const { nickname } = await napcat.ready();
console.log(`${nickname} 已上线`);

process.once("SIGINT", async () => {
  await bot.close();
  await napcat.close();
  await model.dispose();
});
