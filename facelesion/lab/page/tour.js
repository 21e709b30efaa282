// The tour: each step is a state of the lab, with what to look at.
import { $ } from "./html.js";
import { run } from "./curve.js";

let lab, at = 0;

export function begin(given) {
  lab = given;
  $("start-tour").addEventListener("click", () => enter(0));
  $("tour-back").addEventListener("click", () => enter(at - 1));
  $("tour-next").addEventListener("click", () => (at + 1 < lab.offered.tour.length ? enter(at + 1) : end()));
  $("tour-end").addEventListener("click", end);
  document.addEventListener("keydown", (event) => { if (event.key === "Escape" && !$("tour").hidden) end(); });
}

async function enter(number) {
  at = number;
  const steps = lab.offered.tour, step = steps[number];
  $("tour").hidden = false;
  document.body.classList.add("touring");
  $("tour-count").textContent = `Step ${number + 1} of ${steps.length}`;
  $("tour-title").textContent = step.title;
  $("tour-words").textContent = step.words;
  $("tour-back").disabled = number === 0;
  $("tour-next").textContent = number + 1 < steps.length ? "Next" : "Done";
  for (const each of document.querySelectorAll(".pointed")) each.classList.remove("pointed");
  $(step.look).classList.add("pointed");
  $("tour-title").focus({ preventScroll: true });
  $(step.look).scrollIntoView({ block: "start", behavior: matchMedia("(prefers-reduced-motion: reduce)").matches ? "auto" : "smooth" });
  await lab.go(step.state);
  if (step.run === "curve" && at === number && !$("tour").hidden) run();
}

function end() {
  $("tour").hidden = true;
  document.body.classList.remove("touring");
  for (const each of document.querySelectorAll(".pointed")) each.classList.remove("pointed");
  $("start-tour").focus();
}
