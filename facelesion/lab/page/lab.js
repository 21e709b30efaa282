// The page's state, and the one place that asks the server. Every part draws itself from the state and the last answer.
import { $, choose } from "./html.js";
import * as face from "./face.js";
import * as damage from "./damage.js";
import * as units from "./units.js";
import * as answers from "./answers.js";
import * as curve from "./curve.js";
import * as out from "./out.js";
import * as tour from "./tour.js";

const PICTURE = { source: "person", person: 0, likeness: 1, caricature: 1, looks: {}, thing: "aeroplane", number: 0, pixels: "", points: [], marked: [] };
const DAMAGE = { kind: "Ablate", site: "conv5_3", dose: 0.1, units: "random", share: 1, seed: 0, picked: [], options: {} };
const STATE = { network: "builtin", picture: PICTURE, stimulus: "intact", painted: [], damage: [DAMAGE], second: "same", photograph: null, site: "conv5_3", map_of: "face" };
const parts = [face, damage, units, answers, curve, out, tour];

export const lab = {
  state: whole({}),
  offered: null,
  answer: null,
  // Change the state and ask; `redraw` when controls must follow.
  set(changes, { redraw = true } = {}) {
    lab.state = { ...lab.state, ...changes };
    if (redraw) for (const part of parts) part.draw?.(lab);
    return ask();
  },
  go(state) {
    lab.state = whole(state);
    for (const part of parts) part.draw?.(lab);
    return ask();
  },
  damage: (changes = {}) => ({ ...structuredClone(DAMAGE), ...changes }),
  post,
  problem(words) {
    $("problem").textContent = words || "";
    $("problem").hidden = !words;
  },
};

export function whole(state) {
  // A state whose defaults were left out, with all of them.
  const full = { ...structuredClone(STATE), ...structuredClone(state) };
  full.picture = { ...structuredClone(PICTURE), ...full.picture };
  full.damage = full.damage.map((each) => ({ ...structuredClone(DAMAGE), ...each }));
  if (full.photograph) full.photograph = { ...structuredClone(PICTURE), ...full.photograph };
  return full;
}

async function post(path, body, options = {}) {
  const json = !(body instanceof Blob);
  const reply = await fetch(path, { method: "POST", body: json ? JSON.stringify(body) : body, ...options });
  if (!reply.ok) {
    const told = await reply.json().catch(() => ({ error: `the lab answered ${reply.status}` }));
    throw new Error(told.error);
  }
  return reply;
}

// One question at a time; of those that come meanwhile the last alone is asked.
let asking = null;
let wanted = false;
let since = 0;
let first = true; // its time is that of getting ready

function ask() {
  wanted = true;
  since ||= performance.now();
  asking ??= loop().finally(() => { asking = null; });
  return asking;
}

async function loop() {
  document.querySelector("main").setAttribute("aria-busy", "true");
  while (wanted) {
    wanted = false;
    const began = since;
    since = 0;
    const state = lab.state;
    try {
      if (lab.offered?.network !== state.network) await offer(state);
      const answer = await (await post("answer", state)).json();
      if (state !== lab.state && wanted) continue;
      lab.answer = answer;
      $("ready").hidden = true;
      lab.problem("");
      for (const part of parts) part.show?.(lab, answer);
      history.replaceState(null, "", `#s=${answer.link}`);
      await Promise.all([...document.images].filter((each) => !each.complete).map((each) => each.decode().catch(() => {})));
      const took = performance.now() - began;
      if (!first) $("took").textContent = `Answered in ${Math.round(took)} ms.`;
      first = false;
      document.documentElement.dataset.took = took.toFixed(1);
    } catch (error) {
      lab.problem(error.message === "Failed to fetch" ? "the lab does not answer: is it still running?" : error.message);
    }
    document.documentElement.dataset.answers = +(document.documentElement.dataset.answers ?? 0) + 1;
  }
  document.querySelector("main").setAttribute("aria-busy", "false");
}

async function offer(state) {
  const offered = await (await post("offered", state)).json();
  lab.offered = { ...offered, network: state.network };
  choose($("network"), offered.networks, state.network);
  if (!offered.sites.includes(lab.state.site)) {
    // Another network has other places.
    const site = offered.sites[offered.sites.length - 1];
    const fits = (each) => offered.patterns.includes(each.site);
    lab.state = { ...state, site, damage: state.damage.map((each) => (fits(each) ? each : { ...each, site, picked: [] })) };
    wanted = true;
  }
  for (const part of parts) part.draw?.(lab);
}

function linked() {
  const letters = new URLSearchParams(location.hash.slice(1)).get("s");
  if (!letters) return {};
  try {
    const bytes = Uint8Array.from(atob(letters.replaceAll("-", "+").replaceAll("_", "/")), (each) => each.charCodeAt(0));
    return JSON.parse(new TextDecoder().decode(bytes));
  } catch {
    lab.problem("the link is damaged: copy it whole");
    return {};
  }
}

$("network").addEventListener("change", () => lab.set({ network: $("network").value }));
window.addEventListener("hashchange", () => lab.go(linked()));
for (const part of parts) part.begin?.(lab);
lab.state = whole(linked());
ask();
