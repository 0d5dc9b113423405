// Who is measured, with what. In: a random checkpoint. Out: engines with their models, made here unless they are there:
// packages of napcat-vlm, GGUF files for the llama.cpp family, an export for transformers.js.

import { access } from "node:fs/promises";
import { join } from "node:path";
import { ensurePackage } from "../../dist/vlm/convert/ensure-package.js";
import { preferredInt8Weights } from "../../dist/vlm/engine/cpu-settings.js";
import { openCheckpoint } from "./gguf/file.js";
import { HEAD_FORMATS, writeTextGguf } from "./gguf/text.js";
import { writeVisionGguf } from "./gguf/vision.js";
import { exportForTransformersJs } from "./transformers-js/export.js";

export const ENGINES = ["napcat-vlm", "node-llama-cpp", "llama.node", "transformers-js"];

/** Text in 4 bits goes with pictures in 16, text in 8 with pictures in 8, as such files are published. */
const GGUF = [
  ["Q8_0", "Q8_0"],
  ["Q4_0", "F16"],
];

/**
 * `engines`: names, or names with a format, such as `llama.node Q8_0`.
 *
 * @param {{ checkpoint: string, root: string, size: string, engines: string[] }} options
 * @returns {Promise<{ name: string, engine: string, model: string, mmproj?: string }[]>}
 */
export async function competitors({ checkpoint, root, size, engines: asked }) {
  const engines = ENGINES.filter((engine) => asked.some((name) => isOf(name, engine)));
  const made = [];
  if (engines.includes("napcat-vlm")) made.push(...(await packages(checkpoint)));
  const ofGguf = engines.filter((engine) => ["node-llama-cpp", "llama.node"].includes(engine));
  if (ofGguf.length > 0) {
    for (const files of await ggufFiles(checkpoint, join(root, size))) {
      for (const engine of ofGguf) {
        made.push({ name: `${engine} ${files.format}`, engine, ...files });
      }
    }
  }
  if (engines.includes("transformers-js")) {
    const model = join(root, `${size}-transformers-js`);
    await exportForTransformersJs(checkpoint, model);
    made.push({ name: "transformers-js q4", engine: "transformers-js", model });
  }
  return made.filter(({ name, engine }) => asked.includes(engine) || asked.includes(name));
}

function isOf(name, engine) {
  return name === engine || name.startsWith(`${engine} `);
}

async function packages(checkpoint) {
  const int8Weights = await preferredInt8Weights();
  const made = [];
  for (const precision of ["w8a8", "q4"]) {
    const model = await ensurePackage({ model: checkpoint, precision, int8Weights });
    made.push({ name: `napcat-vlm ${precision}`, engine: "napcat-vlm", model });
  }
  return made;
}

async function ggufFiles(checkpointDir, prefix) {
  const checkpoint = await openCheckpoint(checkpointDir);
  try {
    const made = [];
    for (const [format, visionFormat] of GGUF) {
      // Named after what is in them: earlier versions wrote another architecture, and heads in 4 bits.
      const model = `${prefix}-qwen3vl-${format}-${HEAD_FORMATS[format]}.gguf`;
      const mmproj = `${prefix}-mmproj-${visionFormat}.gguf`;
      if (!(await exists(model))) await writeTextGguf(checkpoint, model, format);
      if (!(await exists(mmproj))) await writeVisionGguf(checkpoint, mmproj, visionFormat);
      made.push({ format, model, mmproj });
    }
    return made;
  } finally {
    await checkpoint.file.close();
  }
}

async function exists(path) {
  return access(path).then(
    () => true,
    () => false,
  );
}
