// Renders chat templates; the only file that imports @huggingface/jinja. In: a template as checkpoints have it. Out: text.

import { Template } from "@huggingface/jinja";
import type { RenderTemplate } from "./chat-template.ts";

/**
 * A template ready to render, as transformers does it. One that cannot be parsed throws when it is rendered.
 *
 * @param names what templates may ask for by name, such as `eos_token`
 */
export function templateRenderer(
  template: string,
  names: Readonly<Record<string, string>>,
): RenderTemplate {
  let parsed: Template | undefined;
  return ({ messages, tools, addVisionIds }) => {
    parsed ??= new Template(template);
    return parsed.render({
      messages: [...messages],
      add_generation_prompt: true,
      tools: tools ? [...tools] : null,
      documents: null,
      ...names,
      add_vision_id: addVisionIds ?? false,
    });
  };
}
