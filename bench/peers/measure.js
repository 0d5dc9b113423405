// One engine in a process of its own: `node measure.js ENGINE MODEL THREADS LONG`. Out: one line of JSON.

const [engine, model, threads, long] = process.argv.slice(2);
const ANSWER_TOKENS = 24;
const prefills = [64, 512];
const contexts = long === "long" ? [128, 1024, 4096] : [128, 1024];

const { open } = await import(`./engines/${engine}.js`);
const contextTokens = Math.max(...contexts) + 64;
const opened = await open({ model, threads: Number(threads), contextTokens });
await opened.prefill(32); // what only the first run pays
const figures = {};
for (const tokens of prefills) figures[`prefill ${tokens}`] = await opened.prefill(tokens);
for (const tokens of contexts) {
  figures[`decode at ${tokens}`] = await opened.decode(tokens, ANSWER_TOKENS);
}
process.stdout.write(`\nFIGURES ${JSON.stringify(figures)}\n`, () => process.exit(0));
await opened.close();
