// A bot that may use tools: one of its own, and those of an MCP server, whose command is in the arguments
// (`npm install @modelcontextprotocol/sdk zod`).
import { Client } from "@modelcontextprotocol/sdk/client/index.js";
import { StdioClientTransport } from "@modelcontextprotocol/sdk/client/stdio.js";
import { botTool, connectNapCat, installVlm, mcpTools } from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";
import { z } from "zod";

const clock = botTool({
  name: "clock",
  description: "Tells date and time in a time zone.",
  inputSchema: z.object({ timeZone: z.string().describe("such as Asia/Shanghai") }),
  note: "看一下时间……",
  execute: ({ timeZone }) => new Date().toLocaleString("zh-CN", { timeZone }),
});

const [command, ...args] = process.argv.slice(2);
const client = new Client({ name: "my-bot", version: "1.0.0" });
if (command) await client.connect(new StdioClientTransport({ command, args }));
const foreign = command ? await mcpTools(client, { needs: "group-admin" }) : [];

const model = await loadQwen3Vl({ model: process.env.VLM_MODEL ?? "./Qwen3-VL-2B-Instruct" });
const napcat = connectNapCat({ url: process.env.NAPCAT_URL ?? "ws://127.0.0.1:3001" });
const tools = [clock, ...foreign];
const bot = installVlm(napcat, { model, tools });

process.once("SIGINT", async () => {
  await bot.close();
  await napcat.close();
  await client.close();
  await model.dispose();
});
console.log(`工具：${tools.map(({ name }) => name).join("、")}`);
