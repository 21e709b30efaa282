// What is shown: a person, a thing or a photograph, and what is done to it.
import { $, choose, make, see, slider, plain, signed } from "./html.js";

const GRID = 28;
const CHANGES = { "": "none", mask: "cover", blur: "blur", isolate: "show alone", control: "cover elsewhere" };
const OTHERS = { greyscale: "without colours", "phase scramble": "phase scrambled", "tile scramble": "tiles scrambled", noise: "noise" };
const POINTS = ["the eye on the left", "the eye on the right", "the tip of the nose", "the left corner of the mouth", "the right corner of the mouth"];
let lab, painting = false, cursor = [13, 13], waiting = null;

export function begin(given) {
  lab = given;
  for (const each of document.getElementsByName("source")) each.addEventListener("change", () => source(each.value));
  $("previous").addEventListener("click", () => step(-1));
  $("next").addEventListener("click", () => step(1));
  $("thing-kind").addEventListener("change", () => picture({ thing: $("thing-kind").value }));
  $("another-thing").addEventListener("click", () => picture({ number: (lab.state.picture.number + 1) % 40 }));
  for (const each of ["change", "region", "invert"]) $(each).addEventListener("change", stimulate);
  $("paint").addEventListener("click", () => { painting = !painting; if (painting) lab.state.painted.length || fresh(); draw(lab); $("canvas").focus(); });
  $("wipe").addEventListener("click", () => lab.set({ painted: [] }));
  canvas();
  photographs();
}

const picture = (changes) => lab.set({ picture: { ...lab.state.picture, ...changes } });
const step = (by) => picture({ person: (lab.state.picture.person + by + lab.offered.people.length) % lab.offered.people.length });

function source(value) {
  if (value === "photograph" && !lab.state.picture.pixels) {
    // Nothing to show yet: the panel asks for one.
    $("photograph").hidden = false; $("person").hidden = $("thing").hidden = true;
    return;
  }
  picture({ source: value });
}

export function draw({ state, offered }) {
  if (!offered) return;
  const { picture: shown } = state;
  for (const each of document.getElementsByName("source")) each.checked = each.value === shown.source;
  for (const each of ["person", "thing", "photograph"]) $(each).hidden = each !== shown.source;
  $("who").textContent = offered.people[shown.person] + (shown.person < offered.enrolled ? "" : " (never enrolled)");
  const focused = document.activeElement?.dataset?.name;
  const open = $("looks").parentElement.open;
  $("person-sliders").replaceChildren(
    slider({ name: "likeness", label: "Similar to this person", least: -0.2, most: 1, step: 0.05, value: shown.likeness, words: (v) => (v >= 1 ? "the person" : plain(v)), changed: (likeness) => picture({ likeness }) }),
    slider({ name: "caricature", label: "Caricature", least: -1.5, most: 2.5, step: 0.1, value: shown.caricature, words: (v) => (v === 1 ? "as is" : v === 0 ? "average" : v < 0 ? `anti-face ${plain(v, 1)}` : `× ${v.toFixed(1)}`), changed: (caricature) => picture({ caricature }) }));
  $("looks").replaceChildren(...offered.looks.map((name) => slider({
    name, label: name[0].toUpperCase() + name.slice(1), least: -3, most: 3, step: 0.1, value: shown.looks[name] ?? 0, words: (v) => (v ? signed(v, 1) : "0"),
    changed: (amount) => picture({ looks: { ...lab.state.picture.looks, [name]: amount } }) })));
  $("looks").parentElement.open = open;
  if (focused) document.querySelector(`#person [data-name="${focused}"]`)?.focus();
  choose($("thing-kind"), offered.things, shown.thing);
  stimulus(state, offered);
}

function stimulus(state, offered) {
  const words = state.stimulus.split("+").map((each) => each.trim());
  const first = words.find((each) => each !== "invert" && each !== "intact") ?? "";
  const kind = Object.keys(OTHERS).includes(first) ? first : first.split(" ")[0];
  choose($("change"), { ...CHANGES, ...OTHERS }, kind);
  choose($("region"), Object.fromEntries(offered.regions.map((each) => [each, each.replaceAll("_", " ")])), kind && kind !== first ? first.slice(kind.length + 1) : $("region").value || "eyes");
  $("region").disabled = !(kind in CHANGES) || !kind;
  $("invert").checked = words.includes("invert");
  $("paint").setAttribute("aria-pressed", painting);
  $("paint").textContent = painting ? "Done painting" : "Paint over";
  $("canvas").hidden = !painting;
  $("wipe").hidden = !state.painted.some((row) => row.includes("1"));
  paint();
}

function stimulate() {
  const kind = $("change").value;
  const named = kind ? (kind in OTHERS ? [kind] : [`${kind} ${$("region").value}`]) : [];
  if ($("invert").checked) named.push("invert");
  lab.set({ stimulus: named.join(" + ") || "intact" });
}

export function show(_lab, answer) {
  see($("shown"), answer.picture);
  paint();
}

// Painting by hand, on a grid over the picture; the network gets it when a stroke ends.
function fresh() { lab.state.painted = Array.from({ length: GRID }, () => "0".repeat(GRID)); }
const cell = (row, column) => lab.state.painted[row]?.[column] === "1";

function mark(row, column, on) {
  for (const [r, c] of [[row, column], [row + 1, column], [row, column + 1], [row + 1, column + 1]]) {
    if (r < 0 || c < 0 || r >= GRID || c >= GRID) continue;
    const line = lab.state.painted[r];
    lab.state.painted[r] = line.slice(0, c) + (on ? "1" : "0") + line.slice(c + 1);
  }
}

function paint() {
  const pen = $("canvas").getContext("2d");
  pen.clearRect(0, 0, GRID, GRID);
  if (!painting) return;
  pen.fillStyle = "#e6007a99";
  for (let row = 0; row < GRID; row++) for (let column = 0; column < GRID; column++) if (cell(row, column)) pen.fillRect(column, row, 1, 1);
  pen.strokeStyle = "#fff"; pen.lineWidth = 0.4; pen.strokeRect(cursor[1], cursor[0], 2, 2);
}

function canvas() {
  const area = $("canvas");
  let stroke = null;
  const place = (event) => { const box = area.getBoundingClientRect(); return [event.clientY - box.top, event.clientX - box.left].map((each) => Math.floor(GRID * each / box.width)); };
  const begun = () => { if (lab.state.painted.length !== GRID) fresh(); lab.state.painted = [...lab.state.painted]; };
  area.addEventListener("pointerdown", (event) => { begun(); cursor = place(event); stroke = !cell(...cursor); mark(...cursor, stroke); area.setPointerCapture(event.pointerId); paint(); });
  area.addEventListener("pointermove", (event) => { if (stroke === null) return; cursor = place(event); mark(...cursor, stroke); paint(); });
  area.addEventListener("pointerup", () => { if (stroke === null) return; stroke = null; lab.set({ painted: lab.state.painted }); });
  area.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [-2, 0], ArrowDown: [2, 0], ArrowLeft: [0, -2], ArrowRight: [0, 2] }[event.key];
    if (by) { cursor = cursor.map((each, axis) => Math.min(GRID - 2, Math.max(0, each + by[axis]))); paint(); event.preventDefault(); }
    if (event.key === " " || event.key === "Enter") { begun(); mark(...cursor, !cell(...cursor)); event.preventDefault(); lab.set({ painted: lab.state.painted }); }
  });
}

// Photographs: their bytes go to this machine's memory and come back cut out; the page alone keeps them.
export async function upload(blob, query = "") { return (await lab.post(`photograph${query}`, blob)).json(); }

async function take(blob, query = "") {
  try {
    const found = await upload(blob, query);
    $("five").hidden = true; waiting = null;
    await picture(found);
  } catch (error) {
    lab.problem(error.message);
    if (error.message.startsWith("no face")) five(blob);
  }
}

function photographs() {
  $("file").addEventListener("change", () => { if ($("file").files[0]) take($("file").files[0]); $("file").value = ""; });
  const drop = $("face");
  drop.addEventListener("dragover", (event) => { event.preventDefault(); drop.classList.add("over"); });
  drop.addEventListener("dragleave", () => drop.classList.remove("over"));
  drop.addEventListener("drop", (event) => { event.preventDefault(); drop.classList.remove("over"); if (event.dataTransfer.files[0]) take(event.dataTransfer.files[0]); });
  $("webcam").addEventListener("click", camera);
  $("snap").addEventListener("click", () => {
    const video = $("video"), still = make("canvas", { width: video.videoWidth, height: video.videoHeight });
    still.getContext("2d").drawImage(video, 0, 0);
    for (const track of video.srcObject.getTracks()) track.stop();
    $("camera").hidden = true;
    still.toBlob((blob) => take(blob), "image/jpeg", 0.95);
  });
  $("five-again").addEventListener("click", () => five(waiting.blob));
  $("as-thing").addEventListener("click", () => take(waiting.blob, "?thing=1"));
  clicker();
}

async function camera() {
  try {
    $("video").srcObject = await navigator.mediaDevices.getUserMedia({ video: true });
    $("camera").hidden = false;
  } catch { lab.problem("there is no camera here that may be used: choose a photograph"); }
}

function five(blob) {
  if (waiting?.address) URL.revokeObjectURL(waiting.address);
  waiting = { blob, points: [], address: URL.createObjectURL(blob), at: [0.5, 0.4] };
  $("five-picture").src = waiting.address;
  $("photograph").hidden = $("five").hidden = false;
  ask();
}

function ask() {
  $("five-words").textContent = `Mark ${POINTS[waiting.points.length / 2]} (click, or arrow keys and Enter).`;
  const dot = ([x, y], name) => make("i", { class: name, style: { left: `${100 * x}%`, top: `${100 * y}%` } });
  const pairs = Array.from({ length: waiting.points.length / 2 }, (_, n) => waiting.points.slice(2 * n, 2 * n + 2));
  $("five-marks").replaceChildren(...pairs.map((pair) => dot(pair, "mark")), dot(waiting.at, "aim"));
}

function clicker() {
  const area = $("five-picture");
  const put = () => {
    waiting.points.push(...waiting.at);
    if (waiting.points.length === 10) take(waiting.blob, `?points=${waiting.points.map((each) => each.toFixed(5)).join()}`);
    else ask();
  };
  area.addEventListener("click", (event) => { const box = area.getBoundingClientRect(); waiting.at = [(event.clientX - box.left) / box.width, (event.clientY - box.top) / box.height]; put(); });
  area.addEventListener("keydown", (event) => {
    const by = { ArrowUp: [0, -1], ArrowDown: [0, 1], ArrowLeft: [-1, 0], ArrowRight: [1, 0] }[event.key];
    if (by) { const pace = event.shiftKey ? 0.05 : 0.01; waiting.at = waiting.at.map((each, axis) => Math.min(1, Math.max(0, each + pace * by[axis]))); ask(); event.preventDefault(); }
    if (event.key === "Enter") { put(); event.preventDefault(); }
  });
}
