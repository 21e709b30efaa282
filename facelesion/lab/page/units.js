// The units of a place: each with its map for this picture. Hovered or reached by keys they are shown large; a click,
// space or Enter picks them for the lesion.
import { $, choose, make, plain } from "./html.js";

let lab, at = 0, answer = null;
const kept = {};

export function begin(given) {
  lab = given;
  $("site").addEventListener("change", () => lab.set({ site: $("site").value }));
  const grid = $("grid");
  grid.addEventListener("pointerover", (event) => { const unit = number(event.target); if (unit !== null) point(unit); });
  grid.addEventListener("click", (event) => { const unit = number(event.target); if (unit !== null) { point(unit); pick(unit); } });
  grid.addEventListener("keydown", (event) => {
    const across = columns();
    const by = { ArrowRight: 1, ArrowLeft: -1, ArrowDown: across, ArrowUp: -across, Home: -at, End: grid.children.length - 1 - at }[event.key];
    if (by !== undefined) { point(Math.min(grid.children.length - 1, Math.max(0, at + by))); event.preventDefault(); }
    if (event.key === " " || event.key === "Enter") { pick(at); event.preventDefault(); }
  });
}

const number = (target) => (target.dataset?.unit === undefined ? null : +target.dataset.unit);
const columns = () => getComputedStyle($("grid")).gridTemplateColumns.split(" ").length;
const picking = () => lab.state.damage.findIndex((each) => each.site === lab.state.site && each.units === "picked");

export function draw({ state, offered }) {
  if (offered) choose($("site"), offered.sites, state.site);
}

function pick(unit) {
  // Into the lesion of this place whose units are picked; where there is none, the last of this place becomes one.
  const { damage, site } = lab.state;
  let place = picking();
  let lesions = damage;
  if (place < 0) {
    place = damage.findLastIndex((each) => each.site === site && lab.offered.kinds[each.kind].units.includes("picked"));
    if (place < 0) { place = damage.length; lesions = [...damage, lab.damage({ site })]; }
    lesions = lesions.map((each, n) => (n === place ? { ...each, units: "picked", picked: [] } : each));
  }
  const picked = new Set(lesions[place].picked);
  if (picked.has(unit)) picked.delete(unit); else picked.add(unit);
  lab.set({ damage: lesions.map((each, n) => (n === place ? { ...each, picked: [...picked].sort((a, b) => a - b) } : each)) });
}

export function show(_lab, found) {
  answer = found;
  const { units } = found, hit = new Set(units.hit);
  const picked = new Set(lab.state.damage.filter((each) => each.site === units.site && each.units === "picked").flatMap((each) => each.picked));
  const grid = $("grid"), top = Math.max(...units.healthy, 1e-9);
  sheets(units.sheets);
  if (grid.children.length !== units.count) grid.replaceChildren();
  while (grid.children.length < units.count) grid.append(make("div", { role: "option", id: `u${grid.children.length}`, "data-unit": grid.children.length }));
  at = Math.min(at, units.count - 1);
  for (const [unit, cell] of [...grid.children].entries()) {
    tile(cell, units.count, unit);
    cell.className = (hit.has(unit) ? "hit " : "") + (picked.has(unit) ? "picked" : "");
    cell.style.opacity = 0.35 + 0.65 * Math.sqrt(units.healthy[unit] / top);
    cell.setAttribute("aria-selected", picked.has(unit));
    cell.setAttribute("aria-label", `Unit ${unit}, activation ${plain(units.healthy[unit])}${hit.has(unit) ? ", damaged" : ""}`);
  }
  const words = hit.size ? `${hit.size} of ${units.count} units are damaged here (crossed out).` : `None of ${units.count} units is damaged here.`;
  $("units-words").textContent = `${words} Brighter is more active for this picture. Hover to look, click to pick.`;
  point(at, false);
}

function sheets(given) {
  // One picture holds all units' maps; a hundred elements share it by a short address.
  for (const [which, address] of Object.entries(given)) {
    const bytes = Uint8Array.from(atob(address.slice(address.indexOf(",") + 1)), (each) => each.charCodeAt(0));
    const made = URL.createObjectURL(new Blob([bytes], { type: "image/png" }));
    $("units").style.setProperty(`--${which}-sheet`, `url(${made})`);
    if (kept[which]) URL.revokeObjectURL(kept[which]);
    kept[which] = made;
  }
}

function tile(element, count, unit) {
  element.style.backgroundSize = `100% ${100 * count}%`;
  element.style.backgroundPosition = `0 ${count > 1 ? (100 * unit) / (count - 1) : 0}%`;
}

function point(unit, moved = true) {
  at = unit;
  const { units } = answer, grid = $("grid");
  grid.querySelector(".at")?.classList.remove("at");
  grid.children[unit].classList.add("at");
  grid.setAttribute("aria-activedescendant", `u${unit}`);
  const large = (which) => { const made = make("div", { class: `map ${which}` }); tile(made, units.count, unit); return made; };
  const side = (which) => make("figure", {}, large(which), make("figcaption", {}, `${which} ${plain(units[which][unit], 3)}`));
  const change = units.healthy[unit] ? units.damaged[unit] / units.healthy[unit] - 1 : 0;
  $("unit").replaceChildren(
    make("div", {}, make("b", {}, `Unit ${unit}`), make("p", { class: "quiet" }, Math.abs(change) < 0.0005 ? "unchanged" : `${change < 0 ? "−" : "+"}${Math.abs(100 * change).toFixed(0)} %`)),
    side("healthy"), side("damaged"));
  if (moved) grid.children[unit].scrollIntoView({ block: "nearest" });
}
