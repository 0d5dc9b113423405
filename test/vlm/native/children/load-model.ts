// Imports both halves of the package, loads a model, and tells how that went. Argument: a model's directory.

import * as bot from "napcat-vlm";
import { loadQwen3Vl } from "napcat-vlm/vlm";

const [model = ""] = process.argv.slice(2);
const imported = typeof bot.installVlm === "function";
try {
  await (await loadQwen3Vl({ model })).dispose();
  process.stdout.write(JSON.stringify({ imported, loaded: true }));
} catch (error) {
  const { name, message } = error as Error;
  const code = (error as { code?: unknown }).code;
  process.stdout.write(JSON.stringify({ imported, name, code, message }));
}
