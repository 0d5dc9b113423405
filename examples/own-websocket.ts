// The same with a NCWebsocket of your own, beside whatever else your bot does with it.
import { installVlm } from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";
import { NCWebsocket } from "node-napcat-ts";

const napcat = new NCWebsocket({
  baseUrl: process.env.NAPCAT_URL ?? "ws://127.0.0.1:3001",
  accessToken: encodeURIComponent(process.env.NAPCAT_TOKEN ?? ""),
});
const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const bot = installVlm(napcat, { model });

napcat.on("notice.group_increase", ({ group_id }) => {
  napcat
    .send_group_msg({ group_id, message: [{ type: "text", data: { text: "欢迎！" } }] })
    .catch((error) => console.error("没能打招呼", error.message));
});
await napcat.connect();

process.once("SIGINT", async () => {
  await bot.close();
  void napcat.disconnect();
  await model.dispose();
});
