// What other programs send to OpenAI's interface, whole bodies. `recorded`: by that program's own code against a running
// `napcat-vlm start`; `read`: written down from its sources. All of them are answered.

import { readFile } from "node:fs/promises";
import { afterEach, describe, expect, it } from "vitest";
import { checkRequest } from "../../../src/vlm/request-options.ts";
import { closeDoors, openDoor, PIXEL } from "../../support/open-ai-door.ts";

afterEach(closeDoors);

interface ClientRequest {
  readonly client: string;
  readonly seen: "recorded" | "read";
  readonly body: Readonly<Record<string, unknown>>;
}

const file = new URL("client-requests.json", import.meta.url);
const text = (await readFile(file, "utf8")).replaceAll("<picture>", PIXEL);
const requests = JSON.parse(text) as readonly ClientRequest[];

describe("what other programs send is answered", () => {
  it.each(
    requests.map(
      ({ client, seen, body }, index) => [`${client} (${seen}, ${index})`, body] as const,
    ),
  )("%s", async (_client, body) => {
    const { post, model } = await openDoor({ answer: "好" });
    const response = await post(body);
    expect(response.status).toBe(200);
    const answer = await response.text();
    const asked = model.requests[0]!;
    expect(() => checkRequest(asked)).not.toThrow();
    const pictures = JSON.stringify(body).split(PIXEL).length - 1;
    const parts = asked.messages.flatMap(({ content }) =>
      typeof content === "string" ? [] : content,
    );
    expect(parts.filter(({ type }) => type === "image")).toHaveLength(pictures);
    if (body.stream === true) expect(answer).toContain("data: [DONE]");
    else expect(JSON.parse(answer)).toMatchObject({ choices: [{ message: { content: "好" } }] });
    const wantsUsage = body.stream !== true || body.stream_options !== undefined;
    expect(answer.includes('"total_tokens"')).toBe(wantsUsage);
  });
});
