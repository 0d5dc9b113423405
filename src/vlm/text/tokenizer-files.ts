// Reading the JSON files of a tokenizer, and the errors for what is wrong with them.

import { join } from "node:path";
import { disk } from "../../disk.ts";
import { ModelLoadError } from "../errors.ts";
import { isObject, type JsonObject } from "../json-object.ts";

/** A small file. @throws ModelLoadError unless it holds a JSON object or is missing */
export async function readOptionalJson(dir: string, file: string): Promise<JsonObject> {
  let text: string;
  try {
    text = await disk.readText(join(dir, file));
  } catch (cause) {
    if ((cause as NodeJS.ErrnoException).code === "ENOENT") return {};
    throw cause;
  }
  try {
    const json: unknown = JSON.parse(text);
    if (isObject(json)) return json;
  } catch (cause) {
    throw corrupt(dir, `${file} is not valid JSON.`, cause);
  }
  throw corrupt(dir, `${file} is not a JSON object.`);
}

export function missingFile(dir: string, file: string, cause: unknown): ModelLoadError {
  return new ModelLoadError("model-files-missing", `${file} is missing in the model directory.`, {
    cause,
    modelDir: dir,
    missing: [file],
  });
}

export function unsupported(dir: string, message: string): ModelLoadError {
  return new ModelLoadError("model-unsupported", message, { modelDir: dir });
}

export function corrupt(dir: string, message: string, cause?: unknown): ModelLoadError {
  return new ModelLoadError("model-corrupt", message, { cause, modelDir: dir });
}
