// Makes elements. Texts become text nodes and nothing else, so what stands in the data is never read as HTML.

export const byId = (id) => document.getElementById(id);

// make("p", {class: "quiet", onclick: f}, "text", child): attributes by name, listeners by on..., booleans as such.
export function make(tag, attributes = {}, ...children) {
  const element = document.createElement(tag);
  for (const [name, value] of Object.entries(attributes)) {
    if (value === undefined || value === null || value === false) continue;
    if (name.startsWith("on")) element.addEventListener(name.slice(2), value);
    else element.setAttribute(name, value === true ? "" : value);
  }
  element.append(...children.flat(Infinity).filter((child) => child !== null && child !== undefined));
  return element;
}

export function show(element, visible) {
  element.hidden = !visible;
  return element;
}

// A table with a caption for those who cannot see what stands around it.
export function table(caption, headings, rows, { wide = false } = {}) {
  const numbers = headings.map((_, place) => rows.some((row) => typeof row[place] === "number"));
  const cells = (tag, texts, scope) =>
    texts.map((text, place) => make(tag, { scope, class: numbers[place] ? "number" : null },
      typeof text === "number" ? shown(text) : text));
  return make("div", { class: wide ? "scroll wide" : "scroll", tabindex: "0", role: "region", "aria-label": caption },
    make("table", {},
      make("caption", {}, caption),
      make("thead", {}, make("tr", {}, cells("th", headings, "col"))),
      make("tbody", {}, rows.map((row) => make("tr", {}, cells("td", row))))));
}

// A number as a person reads it.
export function shown(number) {
  if (Number.isInteger(number)) return number.toLocaleString("en");
  const size = Math.abs(number);
  return number.toLocaleString("en", { maximumFractionDigits: size >= 100 ? 1 : size >= 1 ? 3 : 4 });
}

// How long something takes or is ago.
export function duration(seconds) {
  for (const [unit, size] of [["d", 86400], ["h", 3600], ["min", 60]]) {
    if (seconds >= size) return `${shown(Math.round((seconds / size) * 10) / 10)} ${unit}`;
  }
  return `${shown(Math.round(seconds * 10) / 10)} s`;
}
