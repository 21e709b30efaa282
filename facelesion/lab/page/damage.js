// The lesions: kind, place, dose, which units. All of them act together.
import { $, choose, make, slider, percent, plain } from "./html.js";

let lab;

export function begin(given) {
  lab = given;
  $("add").addEventListener("click", () => {
    lab.set({ damage: [...lab.state.damage, lab.damage({ site: lab.state.site, seed: lab.state.damage.length })] });
    document.querySelector("#lesions .lesion:last-child select")?.focus();
  });
}

function change(number, changes, site) {
  const damage = lab.state.damage.map((each, place) => (place === number ? { ...each, ...changes } : each));
  lab.set(site ? { damage, site } : { damage });
}

export function draw({ state, offered }) {
  if (!offered) return;
  const focused = document.activeElement?.closest?.("#lesions") ? document.activeElement.dataset.key : null;
  $("lesions").replaceChildren(...state.damage.map((each, number) => lesion(each, number, offered)));
  if (!state.damage.length) $("lesions").append(make("p", { class: "quiet" }, "No damage: the network is intact."));
  $("add").disabled = state.damage.length >= offered.mostLesions;
  if (focused) document.querySelector(`#lesions [data-key="${focused}"]`)?.focus();
}

function lesion(each, number, offered) {
  const kind = offered.kinds[each.kind];
  const pick = (name, label, options, changed) => {
    const select = make("select", { "data-key": `${number}-${name}`, onchange: () => changed(select.value) });
    choose(select, options, each[name]);
    return make("label", {}, `${label} `, select);
  };
  const amount = (value) => (["fraction", "p"].includes(kind.field) ? percent(value) : plain(value));
  const sliding = (settings) => {
    const made = slider(settings);
    made.querySelector("input").dataset.key = `${number}-${settings.name}`;
    return made;
  };
  const site = (value) => change(number, { site: value, picked: [] }, offered.sites.includes(value) ? value : undefined);
  const units = Object.fromEntries(kind.units.map((key) => [key, offered.units[key]]));
  const counted = kind.field === "fraction" && each.units === "picked";
  const drawn = each.units === "random" || ["Noise", "Dropout"].includes(each.kind);
  return make("fieldset", { class: "lesion" },
    make("legend", {}, `Lesion ${number + 1}`),
    make("div", { class: "row wrap" },
      pick("kind", "Kind", Object.keys(offered.kinds), (value) => {
        const next = offered.kinds[value];
        change(number, { kind: value, dose: next.usual, options: next.options, units: next.units.includes(each.units) ? each.units : next.units.includes("all") ? "all" : "random" });
      }),
      pick("site", "at", offered.patterns, site)),
    make("p", { class: "quiet" }, kind.about),
    counted ? make("p", {}, `${each.picked.length} ${each.picked.length === 1 ? "unit is" : "units are"} picked: pick in the grid below.`)
      : sliding({ name: "dose", label: `Dose: ${kind.meaning}`, least: kind.least, most: kind.most, step: kind.step, value: each.dose, words: amount, changed: (dose) => change(number, { dose }) }),
    make("div", { class: "row wrap" },
      pick("units", "Units", units, (value) => change(number, { units: value })),
      make("button", { type: "button", "data-key": `${number}-draw`, disabled: !drawn, title: "Other units, or other noise", onclick: () => change(number, { seed: each.seed + 1 }) }, `Draw again (${each.seed})`),
      make("button", { type: "button", class: "plain", "aria-label": `Remove lesion ${number + 1}`, onclick: () => lab.set({ damage: lab.state.damage.filter((_, place) => place !== number) }) }, "Remove")),
    kind.field !== "fraction" && each.units !== "picked" && each.units !== "all"
      ? sliding({ name: "share", label: "Share of the units", least: 0.01, most: 1, step: 0.01, value: each.share, words: percent, changed: (share) => change(number, { share }) }) : null);
}
