// Elements by a name, and elements made of words.
export const $ = (name) => document.getElementById(name);

export function make(tag, settings = {}, ...children) {
  const made = tag === "svg" || settings.xmlns
    ? document.createElementNS("http://www.w3.org/2000/svg", tag) : document.createElement(tag);
  for (const [key, value] of Object.entries(settings)) {
    if (key === "xmlns") continue;
    if (key.startsWith("on")) made.addEventListener(key.slice(2), value);
    else if (key === "style") Object.assign(made.style, value);
    else if (typeof value === "boolean") { if (value) made.setAttribute(key, ""); }
    else if (value !== null && value !== undefined) made.setAttribute(key, value);
  }
  made.append(...children.filter((each) => each !== null && each !== undefined));
  return made;
}

export const svg = (tag, settings, ...children) => make(tag, { xmlns: true, ...settings }, ...children);

export function choose(select, options, value) {
  // Options as a list of names, or as names with words; the choice is left where it is when it can be.
  const pairs = Array.isArray(options) ? options.map((each) => [each, each]) : Object.entries(options);
  select.replaceChildren(...pairs.map(([name, words]) => make("option", { value: name }, words)));
  if (value !== undefined) {
    if (!pairs.some(([name]) => name === value)) select.append(make("option", { value }, value));
    select.value = value;
  }
}

let count = 0;
export function slider({ name, least, most, step, value, words, changed, label = name }) {
  // A slider with its value beside it. `changed` is called on release, and on every key.
  const id = `s${count++}`;
  const out = make("output", { for: id }, words(value));
  const input = make("input", { type: "range", id, min: least, max: most, step, value, "aria-valuetext": words(value), "data-name": name });
  input.addEventListener("input", () => {
    out.textContent = words(+input.value);
    input.setAttribute("aria-valuetext", words(+input.value));
  });
  input.addEventListener("change", () => changed(+input.value));
  return make("div", { class: "slide" }, make("label", { for: id }, label), out, input);
}

export function see(image, address) {
  // A picture that is there already is not decoded again.
  if (image.getAttribute("src") !== address) image.src = address;
}

export const percent = (share, digits = 0) => `${(100 * share).toFixed(digits)} %`;
export const signed = (value, digits = 2) => (value < 0 ? "−" : "+") + Math.abs(value).toFixed(digits);
export const plain = (value, digits = 2) => (value < 0 ? "−" : "") + Math.abs(value).toFixed(digits);
