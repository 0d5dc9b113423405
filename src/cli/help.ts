// What `napcat-vlm --help` prints, and the part of it that is about one command. It knows which options a command takes
// from command-words.ts; everything else is read off the text.

import { OPTIONS_OF } from "./command-words.ts";

export const HELP = `napcat-vlm: 会看图的 QQ 机器人 · QQ bots that see

用法 Usage
  napcat-vlm start               启动机器人和调试页 · run the bot and its debug page
  napcat-vlm init                回答几个问题，写出配置文件 · a few questions, and a settings file
  napcat-vlm pull NAME           下载模型并转换 · fetch a model and convert it
  napcat-vlm list                已下载的模型 · the models that were pulled
  napcat-vlm verify NAME         校验模型文件 · check every file of a model again
  napcat-vlm path NAME           模型所在的目录 · where a model lies
  napcat-vlm remove NAME         删除模型 · remove a model
  napcat-vlm convert DIR         把模型目录转换为 ONNX · convert a checkpoint to ONNX
  napcat-vlm doctor              检查这台机器和配置 · check this machine and the settings
  napcat-vlm bench               测量这台机器有多快 · measure how fast this machine is
  napcat-vlm prove               证明设备算得对、扛得住 · prove a device: right, robust, how fast
  napcat-vlm setup-cuda          安装 CUDA 组件 · install ONNX Runtime's CUDA provider
  napcat-vlm COMMAND --help      一个命令的选项 · the options of one command
  napcat-vlm --help, --version

选项 Options                     环境变量 Environment
  --model DIR|NAME               VLM_MODEL      模型目录，或已下载的名字 · checkpoint, package, or a
                                                name that was pulled, such as qwen3-vl-2b
                                                openai:http://HOST:PORT/v1#NAME: 别处的引擎 · an engine
                                                elsewhere (默认 default: examples/tiny-chat)
                                 OPENAI_API_KEY 它的密钥 · its key
  --fallback MODEL               VLM_FALLBACK   第一个模型满了或出错时问它 · asked where the first one
                                                is full or fails
  --device cpu|cuda:N|webgpu|auto VLM_DEVICE    (cpu)
  --precision w8a8|q4|fp32|q4f16|fp16|w8a16
                                 VLM_PRECISION  转换精度 · of a conversion (w8a8; CUDA q4f16)
  --host HOST                    HOST           调试页地址 · of the debug page (127.0.0.1)
  --port PORT                    PORT           0 = 任一空闲端口 · any free one (9999)
  --napcat ws://HOST:PORT        NAPCAT_URL     NapCat 的 WebSocket 服务器 · its WebSocket server
                                 NAPCAT_TOKEN   NapCat 的 token · its token
  --image-hosts HOST[,HOST]      IMAGE_HOSTS    QQ 以外可下载图片的主机 · hosts besides QQ's that
                                                pictures may be fetched from
                                 DEBUG_TOKEN    调试页的 token，非本机访问必需 · token of the debug page,
                                                made up when it is needed and not set
  --data DIR                     VLM_DATA       聊天记录保存在此目录 · where chats outlive the process
                                                (默认不保存 default: they do not)
  --config FILE                                 配置文件：以上和所有其他选项 · file with all of these and
                                                every other option (napcat-vlm.jsonc)
                                 NAPCAT_VLM_MODELS  下载的模型存放于此 · where pulled models lie
  --hub auto|hf|modelscope                      pull: 从哪里下载 · which hub (auto: the first to answer)
                                 HF_ENDPOINT    镜像 · a mirror, such as https://hf-mirror.com
                                 MODELSCOPE_ENDPOINT  ModelScope 的地址 · its address
                                 HF_TOKEN       受限模型的 token · for gated models
                                 MODELSCOPE_API_TOKEN  同上 · the same for ModelScope
                                 HTTPS_PROXY    代理 · a proxy; NO_PROXY: 不经代理的主机 · hosts without
  --revision REV                                pull: 分支、标签或提交 · a branch, a tag or a commit
  --keep-checkpoint                             pull: 转换后保留原文件 · keep the hub's files too
  --no-convert                                  pull: 不转换 · only fetch
  --connections N                               pull: 每个文件的连接数 · of one file at once (4)
  --lora DIR                                    convert: 合并 LoRA，可多次 · merge an adapter; may be repeated
  --yes, --admins QQ[,QQ], --groups QQ[,QQ]     init: 不提问，用这些值和默认值 · ask nothing
  --out DIR                                     convert, bench: 输出目录 · where the results go
  --lang zh|en                                  doctor, init: 语言 · the language (系统语言 the system's)
  --json                                        doctor, list: JSON 格式 · as JSON
  --picture URL                                 doctor: 试着下载一张图 · fetch one picture as a test
  --size nano|mini|2b|4b|8b                     bench, prove: 随机模型的大小 · of the random model
  --threads N                                   bench: 线程数 · threads (物理核心 · physical cores)
  --compute-priority normal|low                 bench: 计算线程的优先级 · of the threads that compute (Linux)
  --cuda 12|13                                  setup-cuda: 默认按驱动选择 · by the driver when left out
  --mirror URL                                  setup-cuda: 镜像 · a NuGet feed, a directory, or the file
  --from FILE                                   setup-cuda: 本地文件 · an archive or directory here
  --sha256 HEX                                  setup-cuda: 校验 · what the archive must hash to
  --libraries                                   setup-cuda: 同时下载 CUDA 的库 · fetch CUDA's libraries too
  --pypi URL                                    setup-cuda: 这些库的来源 · where they come from (PyPI)
  --force                                       setup-cuda: 重新安装 · install again; init: 覆盖 · overwrite
  --json FILE                                   prove: 报告另存为 JSON · the report as a file too
  --quick                                       prove: 不用大权重，一分钟内 · nothing large, a minute

命令行优先于环境变量，环境变量优先于文件。
A flag wins over the environment, the environment over the file.
`;

/** Variables without an option of their own, by the commands that read them. */
const VARIABLES: Readonly<Record<string, readonly string[]>> = {
  OPENAI_API_KEY: ["start", "doctor"],
  NAPCAT_TOKEN: ["start", "init", "doctor"],
  DEBUG_TOKEN: ["start"],
  NAPCAT_VLM_MODELS: [
    "start",
    "pull",
    "list",
    "verify",
    "path",
    "remove",
    "convert",
    "doctor",
    "bench",
  ],
  HF_ENDPOINT: ["pull"],
  MODELSCOPE_ENDPOINT: ["pull"],
  HF_TOKEN: ["pull"],
  MODELSCOPE_API_TOKEN: ["pull"],
  HTTPS_PROXY: ["pull", "setup-cuda"],
};

/** Of one command: how it is called, its options and variables, each as the whole help has them. */
export function helpOf(command: string): string {
  const [title = "", usage = "", options = "", last = ""] = HELP.split(/\n\n/);
  const call = usage.split("\n").filter((line) => line.startsWith(`  napcat-vlm ${command} `));
  const [head = "", ...lines] = options.split("\n");
  const entries: string[][] = [];
  for (const line of lines) {
    const variable = /^ {33}([A-Z_]+) /.exec(line)?.[1] ?? "";
    if (line.startsWith("  --") || Object.hasOwn(VARIABLES, variable)) entries.push([line]);
    else entries.at(-1)?.push(line);
  }
  const own = entries.filter((entry) => isAbout(entry, command)).map((entry) => entry.join("\n"));
  const parts = [title, [usage.split("\n")[0], ...call].join("\n")];
  if (own.length > 0) parts.push([head, ...own].join("\n"), last);
  return parts.join("\n\n");
}

function isAbout(entry: readonly string[], command: string): boolean {
  const [first = ""] = entry;
  const names = [...first.slice(0, 48).matchAll(/--([a-z0-9-]+)/g)].map(([, name = ""]) => name);
  if (names.length === 0) {
    const [variable = ""] = /[A-Z_]+/.exec(first) ?? [];
    return VARIABLES[variable]?.includes(command) === true;
  }
  // What is different from command to command begins with their names; others behind a semicolon.
  const told = [...entry.join(" ").matchAll(/(?:^.{48}|; )([a-z-]+(?:, [a-z-]+)*): /g)];
  const commands = told.flatMap(([, list = ""]) => list.split(", "));
  const isTold = commands.length === 0 || commands.includes(command);
  return isTold && names.every((name) => OPTIONS_OF[command]?.includes(name) === true);
}
