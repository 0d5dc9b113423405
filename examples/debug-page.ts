// The debug page beside a bot of your own: the same chats, in a browser on this machine.
import { Responder, startDebugServer } from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const server = await startDebugServer({
  model,
  responder: new Responder({ model }), // or `bot.responder`, to share its histories
  port: Number(process.env.PORT ?? 9999),
});
console.log(server.url);

process.once("SIGINT", async () => {
  await server.close();
  await model.dispose();
});
