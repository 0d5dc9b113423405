import { describe, expect, it } from "vitest";
import { shown, shownHost, shownQq } from "../../../src/cli/doctor/shown.ts";

const nobody = { secrets: [], home: "", user: "" };

describe("what a report shows", () => {
  it.each([
    ["/home/zhangsan/models/qwen", "/home/<user>/models/qwen"],
    ["tiny-chat, fp32, /Users/张三/models", "tiny-chat, fp32, /Users/<user>/models"],
    ["C:\\Users\\张三\\Desktop\\bot", "C:\\Users\\<user>\\Desktop\\bot"],
    ["d:/Users/li.si/bot and /home/x", "d:/Users/<user>/bot and /home/<user>"],
    ["\\\\?\\C:\\Users\\a b\\c", "\\\\?\\C:\\Users\\<user> b\\c"],
    ["/opt/homework/x", "/opt/homework/x"],
    ["the home/users of it", "the home/users of it"],
  ])("hides people in paths: %s", (text, safe) => {
    expect(shown(text, nobody)).toBe(safe);
  });

  it("writes ~ for the home of whoever runs it, and hides their name elsewhere in paths", () => {
    const lisi = { secrets: [], home: "/srv/people/lisi", user: "lisi" };
    expect(shown("/srv/people/lisi/m, /srv/people/lisi2/m", lisi)).toBe("~/m, /srv/people/lisi2/m");
    expect(shown("/data/lisi/model: lisi", lisi)).toBe("/data/<user>/model: lisi");
    const windows = { secrets: [], home: "C:\\Users\\Li Si", user: "Li Si" };
    expect(shown("c:/users/li si/x", windows)).toBe("~/x");
  });

  it.each([
    ["ws://10.0.0.2:3001/?access_token=abc", "ws://10.0.0.2:3001"],
    ["see wss://u:p@bot.example.com:3001/a?b", "see wss://<host>:3001"],
    ["https://multimedia.nt.qq.com.cn/download?rkey=CAESKE", "https://<host>"],
    ["https://aka.ms/vs/17/release/vc_redist.x64.exe", undefined],
    ["https://aka.ms.example.com/x", "https://<host>"],
    ["token: abc, rkey=CAES", "token=<hidden> rkey=<hidden>"],
    [`Bearer ${"Ab1_".repeat(12)}`, "Bearer <data>"],
  ])("hides addresses and keys: %s", (text, safe) => {
    expect(shown(text, nobody)).toBe(safe ?? text);
  });

  it("hides the tokens it was told of, in an address too", () => {
    const secret = "密 s3cret+/&%";
    const said = `${secret} or ${encodeURIComponent(secret)}`;
    expect(shown(said, { ...nobody, secrets: [secret] })).toBe("<hidden> or <hidden>");
  });

  it.each([
    ["127.0.0.1:3001", "127.0.0.1:3001"],
    ["[::1]:3001", "[::1]:3001"],
    ["192.168.1.5:3001", "192.168.1.5:3001"],
    ["localhost:1", "localhost:1"],
    ["napcat:3001", "napcat:3001"],
    ["0.0.0.0:9999", "0.0.0.0:9999"],
    ["8.8.8.8:3001", "<host>:3001"],
    ["[2606:4700::1]:3001", "<host>:3001"],
    ["bot.example.com", "<host>"],
  ])("names a host only on a private network: %s", (host, safe) => {
    expect(shownHost(host)).toBe(safe);
  });

  it("shows enough of a QQ number to know one's own", () => {
    expect(shownQq("3000000001")).toBe("300****01");
    expect(shownQq("10001")).toBe("10001");
  });
});
