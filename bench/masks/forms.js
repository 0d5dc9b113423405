// Forms to measure: usual ones with answers, eight schemas of eight chats, and forms that are made to take for ever.

const words =
  "The quick brown fox 图里有一只猫 jumps over 桌子上放着三本书 a lazy dog; 价格是 12.50 元 and so on".split(
    " ",
  );
const say = (seed, count) =>
  Array.from({ length: count }, (_, i) => words[(seed * 7 + i * 3) % words.length]).join(" ");
const each = (count, make) => Array.from({ length: count }, (_, index) => make(index));
const json = (schema) => ({ type: "json", schema });
const regex = (pattern) => ({ type: "regex", pattern });

const receipt = (text) => ({
  type: "object",
  properties: {
    shop: text,
    kind: { enum: ["food", "books", "clothes", "travel"] },
    total: { type: "number", minimum: 0, maximum: 100000 },
    paid: { type: "boolean" },
    date: { type: "string", format: "date" },
    items: {
      type: "array",
      items: {
        type: "object",
        properties: { name: text, count: { type: "integer", minimum: 1, maximum: 99 }, note: text },
        required: ["name", "count"],
      },
    },
  },
  required: ["shop", "kind", "total", "items"],
});
const receipts = each(20, (seed) =>
  JSON.stringify({
    shop: say(seed, 4),
    kind: "books",
    total: 12.5 + seed,
    paid: true,
    date: "2026-11-26",
    items: each(4, (i) => ({ name: say(seed + i, 3), count: i + 1, note: say(i, 6) })),
  }),
);

/** Name in English and in Chinese, form, answers. */
export const FORMS = [
  [
    ["JSON schema, a receipt", "JSON schema，一张小票"],
    json(receipt({ type: "string" })),
    receipts,
  ],
  [
    ["the same, strings of up to 60 characters", "同上，字符串最多 60 个字"],
    json(receipt({ type: "string", maxLength: 60 })),
    receipts,
  ],
  [
    ["the same, strings with a `pattern`", "同上，字符串带 `pattern`"],
    json(receipt({ type: "string", pattern: "^[^<>]{0,80}$" })),
    receipts,
  ],
  [["any JSON", "任意 JSON"], { type: "json" }, receipts],
  [
    ["one of 1000 choices", "1000 个选项之一"],
    { type: "choice", options: each(1000, (i) => `${say(i, 3)} ${i}`) },
    each(20, (i) => `${say(i * 40, 3)} ${i * 40}`),
  ],
  [
    ["regex `\\d{4}-\\d{2}-\\d{2}`", "正则 `\\d{4}-\\d{2}-\\d{2}`"],
    regex("\\d{4}-\\d{2}-\\d{2}"),
    ["2026-11-26", "1999-01-02"],
  ],
  [["regex `.{0,200}`", "正则 `.{0,200}`"], regex(".{0,200}"), [say(1, 30), say(2, 30)]],
  [
    ["regex `[\\s\\S]{0,200}`", "正则 `[\\s\\S]{0,200}`"],
    regex("[\\s\\S]{0,200}"),
    [say(1, 30), say(2, 30)],
  ],
  [["regex `.*`", "正则 `.*`"], regex(".*"), [say(1, 30), say(2, 30)]],
  [
    ["regex `[\\p{L}\\p{N} .;]{0,20}`", "正则 `[\\p{L}\\p{N} .;]{0,20}`"],
    regex("[\\p{L}\\p{N} .;]{0,20}"),
    [say(1, 4), say(2, 4)],
  ],
  [
    ["regex `(\\w+ ){0,20}\\w+`", "正则 `(\\w+ ){0,20}\\w+`"],
    regex("(\\w+ ){0,20}\\w+"),
    ["The quick brown fox jumps over a lazy dog and so on"],
  ],
];

/** Eight schemas, none of which has anything to do with the others. */
export const CHATS = each(8, (chat) => {
  const keys = each(5, (i) => `key${chat}${i}`);
  const text = { type: "string", pattern: `^[^<>${"abcdefgh"[chat]}]{0,${40 + chat}}$` };
  const schema = {
    type: "object",
    properties: Object.fromEntries([
      ...keys.map((key) => [key, text]),
      ["count", { type: "number", minimum: chat, maximum: 1000 + chat }],
      ["more", { type: "array", items: { enum: each(50, (i) => `value ${chat} ${i}`) } }],
    ]),
    required: keys,
  };
  const texts = each(5, () =>
    JSON.stringify({
      ...Object.fromEntries(keys.map((key) => [key, "图一只猫 12.50 元, 三本书"])),
      count: 12.5 + chat,
      more: [`value ${chat} 1`, `value ${chat} 17`],
    }),
  );
  return [json(schema), texts];
});

/** Name, form. */
export const HOSTILE = [
  ["`(a\\|b)*a(a\\|b){20}`", regex("(a|b)*a(a|b){20}")],
  ["`.*a.{20}`", regex(".*a.{20}")],
  ["`(.{1,30}){1,30}`", regex("(.{1,30}){1,30}")],
  ["`(((a{1,30}){1,30}){1,30}){1,30}`", regex("(((a{1,30}){1,30}){1,30}){1,30}")],
  ["`((.*.*)*.*)*x`", regex("((.*.*)*.*)*x")],
  ["3000 alternatives", regex(each(3000, (i) => `w${i}.*`).join("|"))],
  ["20 000 alternatives", regex(each(20_000, (i) => `w${i}`).join("|"))],
  ["20 000 optional characters", regex("[a-z]?".repeat(20_000))],
  ["50 000 choices", { type: "choice", options: each(50_000, (i) => `option number ${i}`) }],
  [
    "a pattern beside a length, 3000 states",
    json({ type: "string", pattern: "^a{3000}$", maxLength: 3500 }),
  ],
  [
    "a pattern that remembers beside a length",
    json({ type: "string", pattern: "(a|b)*a(a|b){11}c", maxLength: 50 }),
  ],
  [
    "200 patterns at once",
    json({ anyOf: each(200, (i) => ({ type: "string", pattern: `x.{${i}}y` })) }),
  ],
  [
    "2000 keys, all optional",
    json({
      type: "object",
      properties: Object.fromEntries(each(2000, (i) => [`k${i}`, { type: "integer" }])),
    }),
  ],
  [
    "500 objects with other keys",
    json({
      type: "object",
      properties: Object.fromEntries(
        each(500, (i) => [
          `k${i}`,
          {
            type: "object",
            properties: { [`a${i}`]: { type: "string" } },
            additionalProperties: { type: "integer" },
          },
        ]),
      ),
    }),
  ],
  [
    "300 ranges of numbers",
    json({
      type: "array",
      prefixItems: each(300, (i) => ({
        type: "number",
        minimum: i * 1.237,
        maximum: i * 2.34567 + 3,
      })),
    }),
  ],
  ["an enum of 200 000", json({ enum: each(200_000, (i) => `value ${i}`) })],
];
