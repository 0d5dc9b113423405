import { describe, expect, it } from "vitest";
import { createLog } from "../../src/cli/log.ts";

function recorded(forPeople: boolean) {
  const lines: string[] = [];
  const log = createLog({ forPeople, stream: { write: (line) => lines.push(line) } });
  return { lines, log };
}

describe("the log of the command line", () => {
  it("is a line of JSON for each message, from info on", () => {
    const { lines, log } = recorded(false);
    log.debug("nothing");
    log.info("A chat is paused.", { chat: "group:1", ms: 5 });
    log.error("A message could not be answered.", { error: "inference-failed" });
    expect(lines).toHaveLength(2);
    expect(JSON.parse(lines[0]!)).toMatchObject({
      level: 30,
      time: expect.any(Number),
      chat: "group:1",
      ms: 5,
      msg: "A chat is paused.",
    });
    expect(JSON.parse(lines[1]!)).toMatchObject({ level: 50, error: "inference-failed" });
    expect(lines[0]).not.toMatch(/"(pid|hostname)"/u);
  });

  it("is readable on a terminal", async () => {
    const { lines, log } = recorded(true);
    log.warn("A picture could not be read.", { chat: "group:1" });
    await expect.poll(() => lines.join("")).toMatch(/\d\d:\d\d:\d\d.*WARN.*A picture could not/su);
    expect(lines.join("")).toContain("group:1");
  });

  it.each([false, true])(
    "holds no address, token or picture (for people: %s)",
    async (forPeople) => {
      const { lines, log } = recorded(forPeople);
      const secret = "CANARY".repeat(10);
      log.error(`failed at https://example.com/?rkey=${secret} token=${secret}`, {
        error: `wss://x/?access_token=${secret}`,
        data: secret,
      });
      await expect.poll(() => lines.join("")).toContain("failed at");
      expect(lines.join("")).not.toContain("CANARYCANARY");
    },
  );
});
