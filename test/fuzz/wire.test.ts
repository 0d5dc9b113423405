// What strangers send: events off the wire, and links in them.

import { isIP } from "node:net";
import fc from "fast-check";
import { describe, expect, it } from "vitest";
import { checkImageUrl, guardedLookup, isPublicAddress } from "../../src/bot/images/image-url.ts";
import { parseMessageEvent } from "../../src/bot/napcat/events.ts";
import { eventNames, readEvent } from "../support/events.ts";
import { disturbed, effort, holds } from "../support/fuzz.ts";

describe("an event", () => {
  const events = eventNames().map(readEvent);
  const anyEvent = fc.oneof(
    fc.jsonValue(),
    fc.nat(events.length - 1).chain((index) => disturbed(events[index])),
  );

  it("never throws, and a message always has what its readers rely on", () => {
    fc.assert(
      fc.property(anyEvent, (wire) => {
        const parsed = parseMessageEvent(wire);
        if (parsed.kind !== "message") return;
        const { message } = parsed;
        for (const id of [message.selfId, message.messageId, message.sender.id, message.chat.id]) {
          expect(typeof id).toBe("string");
          expect(id).not.toBe("");
        }
        expect(typeof message.sender.name).toBe("string");
        for (const segment of message.segments) expect(typeof segment.type).toBe("string");
      }),
      effort(2000),
    );
  });

  it("never becomes a group's message when it came in private, whatever else it says", () => {
    const privates = events.filter((event) => event.message_type === "private");
    expect(privates.length).toBeGreaterThan(2);
    fc.assert(
      fc.property(
        fc.nat(privates.length - 1).chain((index) => disturbed(privates[index])),
        (wire) => {
          const parsed = parseMessageEvent(wire);
          if (parsed.kind !== "message") return;
          const { message_type: type } = wire as { message_type: unknown };
          expect(parsed.message.chat.kind).toBe(type);
          expect(parsed.message.target.kind).toBe(type);
        },
      ),
      effort(1000),
    );
  });
});

describe("a link", () => {
  const QQ = { extraHosts: [], allowPrivateAddresses: false };

  const spelling = fc.oneof(
    fc.webUrl(),
    fc.string(),
    fc.ipV4Extended().map((address) => `http://${address}/a.jpg`),
    fc.ipV6().map((address) => `https://[${address}]/a.jpg`),
    fc.domain().map((domain) => `https://multimedia.nt.qq.com.cn.${domain}/a`),
    fc.domain().map((domain) => `https://multimedia.nt.qq.com.cn@${domain}/a`),
    fc.domain().map((domain) => `https://${domain}/gchat.qpic.cn`),
    fc.string().map((text) => `http://${text}gchat.qpic.cn/a`),
    fc.string().map((text) => `https://gchat.qpic.cn${text}`),
  );

  it("is refused, or leads to a host that QQ keeps pictures on", () => {
    fc.assert(
      fc.property(spelling, (url) => {
        let checked: URL;
        try {
          checked = checkImageUrl(url, QQ);
        } catch (error) {
          expect(error).toMatchObject({ name: "ImageFetchError", code: "url-refused" });
          return;
        }
        expect(checked.protocol).toMatch(/^https?:$/u);
        expect(checked.hostname).toMatch(/(^|\.)(qq\.com|qq\.com\.cn|qpic\.cn)$/u);
        expect(checked.username + checked.password).toBe("");
      }),
      effort(3000),
    );
  });

  it("to a private address is refused in every spelling, also when its host was named", () => {
    const part = fc.nat(255);
    const privateAddress = fc.oneof(
      fc.tuple(fc.constant(127), part, part, part),
      fc.tuple(fc.constant(10), part, part, part),
      fc.tuple(fc.constant(172), fc.integer({ min: 16, max: 31 }), part, part),
      fc.tuple(fc.constant(192), fc.constant(168), part, part),
      fc.tuple(fc.constant(169), fc.constant(254), part, part),
    );
    const number = ([a, b, c, d]: readonly number[]) => ((a! * 256 + b!) * 256 + c!) * 256 + d!;
    const spellings = privateAddress.chain((parts) =>
      fc.constantFrom(
        parts.join("."),
        String(number(parts)),
        `0x${number(parts).toString(16)}`,
        parts.map((value) => `0${value.toString(8)}`).join("."),
        `[::ffff:${parts.join(".")}]`,
      ),
    );
    fc.assert(
      fc.property(spellings, (host) => {
        const policy = {
          extraHosts: [new URL(`http://${host}`).host],
          allowPrivateAddresses: false,
        };
        expect(() => checkImageUrl(`http://${host}/a.jpg`, policy)).toThrow(
          expect.objectContaining({ code: "url-refused" }),
        );
      }),
      effort(500),
    );
  });

  it("to QQ's own host goes to public addresses and to those that local proxies invent, and to no others", async () => {
    const byte = fc.nat(255);
    const group = fc.nat(0xffff).map((value) => value.toString(16));
    const address = fc.oneof(
      fc.ipV4(),
      fc.ipV6().filter((address) => !/^f[cd]/iu.test(address)),
      fc.tuple(fc.integer({ min: 16, max: 21 }), byte, byte).map((rest) => `198.${rest.join(".")}`),
      fc.tuple(fc.constantFrom("fc00", "fc01", "fd00"), group).map(([a, b]) => `${a}:${b}::1`),
      fc.tuple(fc.constantFrom("9876", "9877"), group).map(([a, b]) => `fdfe:dcba:${a}::${b}`),
    );
    const invented = (address: string) =>
      /^198\.1[89]\./u.test(address) ||
      /^fdfe:dcba:9876:/u.test(address) ||
      /^fc00:[0-3]?[0-9a-f]{0,3}::/u.test(address);
    await holds(
      fc.asyncProperty(fc.array(address, { minLength: 1, maxLength: 4 }), async (addresses) => {
        // An IPv4 address in IPv6's clothes is judged by what it wears; here only plain ones are expected to pass.
        fc.pre(addresses.every((address) => !/^0*:/u.test(address)));
        const found = addresses.map((address) => ({ address, family: isIP(address) }));
        const lookup = guardedLookup(QQ, (_host, _options, done) => done(null, found));
        const error = await new Promise((resolve) =>
          lookup("gchat.qpic.cn", { all: true }, (error) => resolve(error)),
        );
        const fine = addresses.every((address) => isPublicAddress(address) || invented(address));
        if (fine) expect(error).toBeNull();
        else expect(error).toMatchObject({ code: "url-refused" });
      }),
      1000,
    );
  });

  it("whose name leads to a private address is refused at the moment of connecting", async () => {
    const address = fc.oneof(fc.ipV4(), fc.ipV6());
    await holds(
      fc.asyncProperty(fc.array(address, { minLength: 1, maxLength: 4 }), async (addresses) => {
        const found = addresses.map((address) => ({
          address,
          family: address.includes(":") ? 6 : 4,
        }));
        const lookup = guardedLookup(
          { extraHosts: ["img.example.com"], allowPrivateAddresses: false },
          ((_host: string, _options: object, done: (error: null, found: object[]) => void) =>
            done(null, found)) as never,
        );
        const failed = await new Promise<boolean>((resolve) => {
          lookup("img.example.com", { all: true }, (error) => resolve(error !== null));
        });
        expect(failed).toBe(!addresses.every(isPublicAddress));
      }),
      500,
    );
  });
});
