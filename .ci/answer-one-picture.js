// Starts the installed `napcat-vlm start` on a free port, draws a picture, asks over HTTP what is in it, ends with Ctrl-C.
import { spawn } from "node:child_process";
import { createRequire } from "node:module";
import { join } from "node:path";

const resolveFrom = createRequire(join(process.cwd(), "package.json"));
const sharp = resolveFrom("sharp");

// About a hundred pixels: the tiny model takes the width of a picture for the number of shapes in it.
const circle = `<svg xmlns="http://www.w3.org/2000/svg" width="96" height="96">
  <rect width="96" height="96" fill="#f5f2e8"/><circle cx="48" cy="48" r="37" fill="#dc2828"/></svg>`;
const picture = await sharp(Buffer.from(circle)).png().toBuffer();

const job = spawn(
  process.execPath,
  ["node_modules/napcat-vlm/dist/cli.js", "start", "--port", "0"],
  {
    stdio: ["ignore", "pipe", "inherit"],
  },
);
const ended = new Promise((resolve) => job.once("exit", (code, signal) => resolve(code ?? signal)));
const url = await new Promise((resolve, reject) => {
  let output = "";
  job.stdout.on("data", (chunk) => {
    process.stdout.write(chunk);
    output += chunk;
    const found = /http:\/\/127\.0\.0\.1:\d+/.exec(output);
    if (found) resolve(found[0]);
  });
  void ended.then((code) =>
    reject(new Error(`napcat-vlm start ended with ${code} before it was ready`)),
  );
});
const response = await fetch(`${url}/api/chat/private`, {
  method: "POST",
  headers: { "content-type": "application/json" },
  body: JSON.stringify({
    type: "private",
    user_id: "10001",
    user_nickname: "CI",
    content: "图里有什么？",
    images: [{ data: picture.toString("base64"), format: "png" }],
    timestamp: Date.now() / 1000,
  }),
});
const answer = await response.json();
console.log(response.status, answer);
job.kill("SIGINT");
const code = await ended;
console.log(`ended with ${code}`);
const right =
  response.status === 200 &&
  answer.status === "success" &&
  answer.reply === "图里有一个红色的圆形。";
process.exitCode = right && code === 0 ? 0 : 1;
