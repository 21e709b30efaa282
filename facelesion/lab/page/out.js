// Out of the page: texts to copy, a link, a picture.
import { $, make } from "./html.js";

let lab;
const TEXTS = { yaml: ["The lesion as YAML", "lesion.yaml"], python: ["All of it as Python", "from_the_lab.py"], study: ["The study that would test it properly", "from-the-lab.yaml"] };

export function begin(given) {
  lab = given;
  $("copy-link").addEventListener("click", () => copy(location.href, "The link is copied. Photographs are not in it."));
  $("save-picture").addEventListener("click", picture);
  $("texts").append(...Object.entries(TEXTS).map(([key, [title, file]]) => make("details", { id: `text-${key}`, open: key === "yaml" },
    make("summary", {}, title), make("div", { class: "row" },
      make("button", { type: "button", onclick: () => copy($(`code-${key}`).textContent, "Copied.") }, "Copy"),
      make("button", { type: "button", onclick: () => save(new Blob([$(`code-${key}`).textContent], { type: "text/plain" }), file) }, "Save as a file")),
    make("pre", { tabindex: 0, role: "region", "aria-label": title }, make("code", { id: `code-${key}` })))));
}

export function show(_lab, answer) {
  for (const key of Object.keys(TEXTS)) $(`code-${key}`).textContent = answer.out[key];
}

async function copy(text, said) {
  try {
    await navigator.clipboard.writeText(text);
  } catch {
    // Without the clipboard's leave, as on an address that is not this machine's.
    const area = make("textarea", { class: "hidden" });
    document.body.append(area);
    area.value = text;
    area.select();
    document.execCommand("copy");
    area.remove();
  }
  $("out-state").textContent = said;
}

function save(blob, name) {
  const address = URL.createObjectURL(blob);
  make("a", { href: address, download: name }).click();
  setTimeout(() => URL.revokeObjectURL(address), 10000);
  $("out-state").textContent = `${name} is saved.`;
}

async function picture() {
  $("out-state").textContent = "Drawing …";
  try {
    save(await (await lab.post("picture", lab.state)).blob(), "lab.png");
  } catch (error) { lab.problem(error.message); $("out-state").textContent = ""; }
}
