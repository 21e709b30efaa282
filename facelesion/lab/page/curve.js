// The dose curve and the case study: both come line by line, and are drawn as they come.
import { $, choose, make, svg, percent, plain } from "./html.js";

let lab, stop = null;

export function begin(given) {
  lab = given;
  $("curve-run").addEventListener("click", run);
  $("curve-stop").addEventListener("click", () => stop?.abort());
  $("case-run").addEventListener("click", study);
}

export function draw({ state }) {
  const before = $("curve-which").value;
  choose($("curve-which"), Object.fromEntries(state.damage.map((each, n) => [n, `${n + 1}: ${each.kind} at ${each.site}`])));
  if (+before < state.damage.length) $("curve-which").value = before || 0;
  $("curve-run").disabled = !state.damage.length;
}

async function lines(path, signal, each) {
  const reader = (await lab.post(path, lab.state, { signal })).body.pipeThrough(new TextDecoderStream()).getReader();
  let rest = "";
  for (;;) {
    const { value, done } = await reader.read();
    if (done) return;
    const parts = (rest + value).split("\n");
    rest = parts.pop();
    for (const part of parts) {
      const found = JSON.parse(part);
      if (found.error) throw new Error(found.error);
      each(found);
    }
  }
}

export async function run() {
  stop?.abort();
  const mine = (stop = new AbortController());
  $("curve-stop").hidden = false;
  $("curve-state").textContent = "Asking about the lesion itself …";
  try {
    await lines(`curve?which=${$("curve-which").value || 0}`, mine.signal, (found) => {
      if (mine.signal.aborted) return;
      plots(found);
      $("curve-state").textContent = found.draws ? `${found.done} of ${found.draws} random lesions` : "This lesion draws nothing: there is no band of others like it.";
    });
  } catch (error) {
    if (error.name === "AbortError") $("curve-state").textContent = "Stopped."; else { lab.problem(error.message); $("curve-state").textContent = ""; }
  }
  if (stop === mine) { $("curve-stop").hidden = true; stop = null; }
}

function plots(curve) {
  const amount = (dose) => (["fraction", "p"].includes(curve.field) ? percent(dose) : plain(dose, curve.field === "units" ? 0 : 2));
  const table = make("details", {}, make("summary", {}, "As a table"), make("div", { class: "scroll", tabindex: 0, role: "region", "aria-label": "The curve as a table" }, make("table", {},
    make("thead", {}, make("tr", {}, make("th", { scope: "col" }, curve.meaning), ...curve.tasks.map((each) => make("th", { scope: "col" }, each.name)))),
    make("tbody", {}, ...curve.doses.map((dose, n) => make("tr", {}, make("th", { scope: "row" }, amount(dose)),
      ...curve.tasks.map((each) => make("td", {}, percent(each.scores[n]), each.band.length ? make("span", { class: "quiet" }, ` (${percent(each.band[n][0])} to ${percent(each.band[n][1])})`) : null))))))));
  const open = $("curve-plots").querySelector("details")?.open;
  $("curve-plots").replaceChildren(
    make("div", { class: "plots" }, ...curve.tasks.map((each, n) => plot(curve, each, n, amount))),
    make("p", { class: "quiet" }, `Across: ${curve.meaning}. Line: the lesion; grey: the range of random ones; dashed: guessing.`),
    curve.words.length ? make("ul", { class: "words" }, ...curve.words.map((each) => make("li", {}, each))) : "", table);
  if (open) table.open = true;
}

function plot(curve, task, number, amount) {
  const W = 300, H = 190, left = 44, bottom = 24, top = 8, right = 8;
  const first = Math.min(...curve.doses), span = Math.max(...curve.doses) - first || 1;
  const x = (dose) => left + ((W - left - right) * (dose - first)) / span;
  const y = (share) => top + (H - top - bottom) * (1 - share);
  const path = (pairs) => pairs.map(([a, b], n) => `${n ? "L" : "M"}${a.toFixed(1)} ${b.toFixed(1)}`).join("");
  const points = curve.doses.map((dose, n) => [x(dose), y(task.scores[n])]).sort((a, b) => a[0] - b[0]);
  const order = curve.doses.map((dose, n) => [dose, n]).sort((a, b) => a[0] - b[0]);
  const made = svg("svg", { viewBox: `0 0 ${W} ${H}`, role: "img", "aria-label": `${task.name}: ${curve.doses.map((dose, n) => `${amount(dose)}: ${percent(task.scores[n])}`).join(", ")}` });
  for (const share of [0, 0.5, 1]) made.append(svg("line", { x1: left, x2: W - right, y1: y(share), y2: y(share), class: "rule" }), svg("text", { x: left - 6, y: y(share) + 4, "text-anchor": "end" }, percent(share)));
  if (task.band.length) made.append(svg("path", { class: "band", d: `${path(order.map(([dose, n]) => [x(dose), y(task.band[n][1])]))}L${path(order.toReversed().map(([dose, n]) => [x(dose), y(task.band[n][0])])).slice(1)}Z` }));
  if (task.chance !== null) made.append(svg("line", { x1: left, x2: W - right, y1: y(task.chance), y2: y(task.chance), class: "chance" }));
  made.append(svg("line", { x1: x(curve.at), x2: x(curve.at), y1: top, y2: H - bottom, class: "now" }));
  made.append(svg("path", { d: path(points), class: `line l${number}` }), ...points.map(([a, b]) => svg("circle", { cx: a, cy: b, r: 3.2, class: `l${number}` })));
  for (const dose of [curve.doses[0], curve.doses[curve.doses.length - 1]]) made.append(svg("text", { x: x(dose), y: H - 7, "text-anchor": x(dose) < W / 2 ? "start" : "end" }, amount(dose)));
  return make("figure", {}, make("figcaption", {}, task.name[0].toUpperCase() + task.name.slice(1) + "?"), made);
}

async function study() {
  $("case-run").disabled = true;
  $("case-state").textContent = "Asking this network …";
  try {
    await lines("case", undefined, (card) => {
      if (card.rows.length) { cardOf(card); $("case-state").textContent = "Done."; }
      else $("case-state").textContent = `${card.done} of ${card.of} networks were asked …`;
    });
  } catch (error) { lab.problem(error.message); $("case-state").textContent = ""; }
  $("case-run").disabled = false;
}

function cardOf(card) {
  const bar = (row) => {
    const dot = (value, name) => (value === null ? null : make("i", { class: name, style: { left: `${100 * value}%` }, title: `${name} ${percent(value)}` }));
    return make("div", { class: "track dots", role: "img", "aria-label": `healthy ${percent(row.healthy)}, damaged ${percent(row.damaged)}` },
      row.controls === null ? null : make("i", { class: "controls", style: { left: `${100 * Math.max(0, row.controls - (row.deviation ?? 0))}%`, width: `${200 * (row.deviation ?? 0)}%` } }), dot(row.chance, "chance"), dot(row.healthy, "healthy"), dot(row.damaged, "damaged"));
  };
  $("case-card").replaceChildren(
    make("p", {}, make("b", {}, card.damage), `, beside ${card.controls.length} networks trained alike (${card.controls.join(", ")}).`),
    make("div", { class: "cards" }, ...card.rows.map((row) => make("article", {},
      make("h3", {}, row.task[0].toUpperCase() + row.task.slice(1)), make("p", { class: "quiet" }, `${row.question} Counted: ${row.measure}.`), bar(row),
      make("p", { class: "sides" }, make("span", { class: "healthy" }, make("b", {}, "healthy"), ` ${percent(row.healthy, 1)}`), make("span", { class: "damaged" }, make("b", {}, "damaged"), ` ${percent(row.damaged, 1)}`),
        row.controls === null ? null : make("span", {}, make("b", {}, "alike"), ` ${percent(row.controls, 1)}`)),
      make("p", { class: "say" }, `As a single case: ${row.words}.`), row.people ? make("p", { class: "quiet" }, `People: ${row.people}.`) : null))),
    card.apart.length ? make("details", {}, make("summary", {}, "How tasks come apart"), make("ul", {}, ...card.apart.map((each) => make("li", {}, each)))) : "");
}
