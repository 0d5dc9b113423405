// The last step of `npm run build`: what tsc leaves behind goes into dist (or the directory named as argument), and
// the command becomes executable.

import { chmod, cp, readdir, readFile, writeFile } from "node:fs/promises";
import { join } from "node:path";
import { fileURLToPath, pathToFileURL } from "node:url";

const root = fileURLToPath(new URL("../", import.meta.url));
const output = process.argv[2] ?? join(root, "dist");
const page = join("bot", "debug-http", "page");

// The script of the device thread is JavaScript already.
const thread = join("vlm", "runtime", "device-thread-worker.js");
// Compiled where it runs.
const kernels = join("vlm", "engine", "step-kernels.cu");

await cp(join(root, "src", page), join(output, page), { recursive: true });
for (const file of [thread, kernels]) await cp(join(root, "src", file), join(output, file));
await chmod(join(output, "cli.js"), 0o755);

// What editors know of the settings file: its schema, with what the documentation says of every option.
const editorSchema = pathToFileURL(join(output, "cli", "config", "editor-schema.js"));
const { descriptionsIn, editorSchema: schemaWith } = await import(editorSchema.href);
const docs = join(root, "docs", "en");
const names = (await readdir(docs)).filter((name) => name.endsWith(".md"));
const pages = await Promise.all(names.map((name) => readFile(join(docs, name), "utf8")));
const schema = `${JSON.stringify(schemaWith(descriptionsIn(pages)), null, 2)}\n`;
await writeFile(join(output, "napcat-vlm.schema.json"), schema);
