// What is left: the healthy network's answers beside the damaged one's.
import { $, choose, make, percent, plain, see, signed } from "./html.js";

let lab;
const NETWORKS = ["healthy", "damaged"];

export function begin(given) {
  lab = given;
  $("map-of").addEventListener("change", () => lab.set({ map_of: $("map-of").value }));
  $("second").addEventListener("change", () => {
    if ($("second").value === "photograph" && !lab.state.photograph) { $("second-label").hidden = false; $("second-file").click(); return; }
    lab.set({ second: $("second").value });
  });
  $("second-file").addEventListener("change", async () => {
    const file = $("second-file").files[0];
    $("second-file").value = "";
    if (!file) return;
    try {
      lab.set({ second: "photograph", photograph: await (await lab.post("photograph", file)).json() });
    } catch (error) { lab.problem(error.message); }
  });
}

export function draw({ state, offered }) {
  if (!offered) return;
  const { same: _same, lookalike: _lookalike, ...others } = offered.seconds, person = state.picture.source === "person";
  choose($("second"), person ? offered.seconds : others, person || state.second === "photograph" ? state.second : "other");
  $("second-label").hidden = state.second !== "photograph";
  $("map-of").value = state.map_of;
}

export function show({ state }, answer) {
  const { healthy, damaged, truth } = answer;
  const name = (seen) => (seen.face ? "a face" : "no face");
  const told = (seen) => `${name(seen)}, most like ${seen.people[0].name}`;
  const intact = answer.lesion === "the intact network";
  $("verdict").replaceChildren(
    make("span", {}, make("b", {}, "Healthy"), ` ${told(healthy)}`),
    make("span", { class: "damaged" }, make("b", {}, intact ? "Intact too" : "Damaged"), ` ${told(damaged)}`));
  gauge(answer);
  $("nearest").replaceChildren(...NETWORKS.map((each) => nearest(each, answer[each], truth.who)));
  same(answer);
  $("kinds").replaceChildren(...NETWORKS.map((each) => kinds(each, answer[each], state)));
  const words = { healthy: "healthy", damaged: "damaged", difference: "damaged − healthy" };
  if (!$("maps").children.length) {
    $("maps").append(...Object.entries(words).map(([key, said]) => make("figure", {},
      make("img", { id: `map-${key}`, width: 112, height: 112, alt: `Grad-CAM, ${said}` }), make("figcaption", {}, said))));
  }
  for (const key of Object.keys(words)) see($(`map-${key}`), answer.maps[key]);
  $("map-words").textContent = `Grad-CAM at ${state.site} of the evidence ${answer.mapOf}, all on the healthy map's scale: bright is more; in the difference red is gained and blue is lost.${answer.empty ? " Here neither network has any, so the maps are empty." : ""}`;
}

function gauge({ healthy, damaged }) {
  const reach = Math.max(8, Math.ceil(Math.max(Math.abs(healthy.evidence), Math.abs(damaged.evidence))));
  const at = (value) => `${50 + (50 * value) / reach}%`;
  const mark = (seen, which) => make("i", { class: which, style: { left: at(seen.evidence) } });
  const words = (seen, which) => make("span", { class: which }, make("b", {}, which), ` ${seen.face ? "yes" : "no"}, evidence `, make("output", { id: `evidence-${which}` }, signed(seen.evidence)));
  $("gauge").replaceChildren(
    make("div", { class: "scale", role: "img", "aria-label": `Evidence for a face: healthy ${signed(healthy.evidence)}, damaged ${signed(damaged.evidence)}; a face is seen above 0` },
      make("span", { class: "zero" }), mark(healthy, "healthy"), mark(damaged, "damaged")),
    make("div", { class: "ends" }, make("span", {}, "no face"), make("span", {}, "0"), make("span", {}, "a face")),
    make("p", { class: "sides" }, words(healthy, "healthy"), words(damaged, "damaged")));
}

function nearest(which, seen, who) {
  return make("div", { class: which }, make("h4", {}, which), make("ol", {}, ...seen.people.map((each) => make("li", { class: each.right ? "right" : "" },
    make("i", { class: "portrait", style: { backgroundPosition: `0 ${(100 * each.number) / (lab.offered.enrolled - 1)}%` } }),
    make("span", {}, each.name, each.right ? make("span", { class: "tick", title: "it is" }, " ✓") : null),
    make("span", { class: "value" }, plain(each.cosine))))),
    who && !seen.people.some((each) => each.right) ? make("p", { class: "quiet" }, `${who} is not among the five`) : null);
}

function same({ healthy, damaged, second, sameAbove, truth }) {
  const said = (seen, which) => make("p", { class: which }, make("b", {}, which), ` ${seen.same ? "the same person" : "two people"}, alike `,
    make("output", { id: `alike-${which}` }, plain(seen.alike)), truth.same === null ? null : make("span", { class: truth.same === seen.same ? "tick" : "miss" }, truth.same === seen.same ? " ✓" : " ✗"));
  if (!$("same").children.length) $("same").append(make("img", { id: "second-picture", width: 84, height: 84, alt: "The second picture" }), make("div"));
  see($("second-picture"), second);
  $("same").lastChild.replaceWith(make("div", {}, said(healthy, "healthy"), said(damaged, "damaged"), make("p", { class: "quiet" }, `The same person is seen above ${plain(sameAbove)}.`)));
}

function kinds(which, seen, state) {
  return make("div", { class: which }, make("h4", {}, which),
    make("ol", {}, ...seen.kinds.map((each) => make("li", { class: state.picture.source === "thing" && each.name === state.picture.thing ? "right" : "" },
      make("span", {}, each.name), make("span", { class: "value" }, percent(each.share)),
      make("span", { class: "track" }, make("i", { style: { width: `${100 * each.share}%` } }))))));
}
