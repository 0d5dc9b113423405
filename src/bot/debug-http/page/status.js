// The status page: asks the bot once a second and shows what it says. In: /api/status. Out: the page, a stopped turn.

import { ChatError, getJson, postEmpty } from "./chat-client.js";
import { statusWords as words } from "./status-words.js";

const INTERVAL_MS = 1000;
const byId = (id) => document.getElementById(id);

for (const name of ["overview", "turns", "counts", "times", "errors", "settings"]) {
  byId(`${name}-title`).textContent = words.titles[name];
}
// The token of the address stays in it from page to page.
byId("home").href = `/${location.search}`;

function element(tag, text, className) {
  const node = document.createElement(tag);
  if (text !== undefined) node.textContent = text;
  if (className !== undefined) node.className = className;
  return node;
}

function showHealth({ status, reasons }) {
  const why = reasons.map((reason) => words.reasons[reason] ?? reason);
  byId("health").hidden = false;
  byId("health").className = status;
  byId("health").textContent = words.because(words.health[status] ?? status, why);
}

function showOverview({ connection, model, turns }) {
  const rows = [
    [words.connection, words.states[connection.state] ?? connection.state],
    [words.account, connection.account ?? "–"],
    [words.model, `${model.name} · ${model.device}`],
    [words.running, String(turns.length)],
  ];
  byId("overview").replaceChildren(
    ...rows.flatMap(([name, value]) => [element("dt", name), element("dd", value)]),
  );
}

function showTurns(turns) {
  if (turns.length === 0) return byId("turns").replaceChildren(element("p", words.noTurns, "none"));
  const table = element("table");
  for (const { id, chat, trigger, stage, ageMs } of turns) {
    const row = element("tr");
    const stop = element("button", words.stop);
    stop.type = "button";
    stop.addEventListener("click", () => stopTurn(id, stop));
    const cell = element("td");
    cell.append(stop);
    row.append(
      element("td", chat),
      element("td", words.triggers[trigger] ?? trigger),
      element("td", words.stages[stage] ?? stage),
      element("td", `${(ageMs / 1000).toFixed(1)} s`, "number"),
      cell,
    );
    table.append(row);
  }
  byId("turns").replaceChildren(table);
}

async function stopTurn(id, button) {
  button.disabled = true;
  // A turn that is over already is what was wanted.
  await postEmpty(`/api/turns/${id}/stop`).catch(() => {});
  await refresh();
}

/** Counters are sums since the start; what was never counted is not there. */
function showNumbers(numbers) {
  const counts = numbers.filter(({ name }) => name.endsWith("_total"));
  byId("counts").replaceChildren(
    ...counts.map(({ name, labels, value }) => {
      const row = element("tr");
      const what = name.replace(/^napcat_vlm_|_total$/g, "");
      const kind = Object.values(labels).join(" · ");
      row.append(
        element("td", words.counts[what] ?? what),
        element("td", kind),
        element("td", value.toLocaleString(), "number"),
      );
      return row;
    }),
  );
  const of = (name, stage) =>
    numbers.find((one) => one.name === name && one.labels.stage === stage)?.value ?? 0;
  byId("times").replaceChildren(
    ...["queue", "image", "vision", "prefill", "decode"].map((stage) => {
      const row = element("tr");
      const count = of("napcat_vlm_answer_seconds_count", stage);
      const mean =
        count === 0 ? "–" : `${(of("napcat_vlm_answer_seconds_sum", stage) / count).toFixed(2)} s`;
      row.append(element("td", words.times[stage]), element("td", mean, "number"));
      return row;
    }),
  );
}

function showErrors(errors) {
  if (errors.length === 0)
    return byId("errors").replaceChildren(element("p", words.noErrors, "none"));
  const table = element("table");
  for (const { atMs, chat, error } of errors) {
    const row = element("tr");
    row.append(
      element("td", new Date(atMs).toLocaleTimeString()),
      element("td", chat),
      element("td", error),
    );
    table.append(row);
  }
  byId("errors").replaceChildren(table);
}

async function refresh() {
  try {
    const { bot, error } = await getJson("/api/status");
    if (error) throw new ChatError(error.code, words.errors[error.code] ?? error.message);
    byId("trouble").hidden = true;
    document.querySelector("main").hidden = false;
    showHealth(bot.health);
    showOverview(bot);
    showTurns(bot.turns);
    showNumbers(bot.numbers);
    showErrors(bot.errors);
    const settings = JSON.stringify(bot.settings, null, 2);
    // Only what changed: a selection or an open fold stays as it is.
    if (byId("settings").textContent !== settings) byId("settings").textContent = settings;
  } catch (error) {
    byId("trouble").textContent = error instanceof ChatError ? error.message : words.unreachable;
    byId("trouble").hidden = false;
    // The numbers stay, as the last that were heard; that all is well is no longer known.
    byId("health").hidden = true;
  }
}

for (;;) {
  if (!document.hidden) await refresh();
  await new Promise((resolve) => setTimeout(resolve, INTERVAL_MS));
}
