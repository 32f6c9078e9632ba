// Charts over time by uPlot, each with its numbers as text: a legend that follows the pointer, and a table of samples.

import { element, setText } from "./dom.js";
import { bytes, minute, time } from "./format.js";

const COLOURS = 8;  // In the style sheet, --series-0 to --series-7, for light and dark.
const DASHES = [[], [6, 4], [2, 3]];
const HEIGHT = 180;
const ROWS = 12;
const POWERS = Array.from({ length: 50 }, (_, power) => 2 ** power);  // Steps between sizes.
const all = new Set();

let ready = null;

// Loads the library once; false: it is not installed, and tables have to do.
export function library(isThere) {
  if (!isThere) return Promise.resolve(false);
  ready ??= new Promise((done) => {
    document.head.append(
      element("link", { rel: "stylesheet", href: "ui/uplot.css" }),
      element("script", { src: "ui/uplot.js", onload: () => done(true), onerror: () => done(false) }),
    );
  });
  return ready;
}

const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

// Draws all anew in the colours of another theme.
export function repaint() {
  for (const chart of all) chart.reset();
}

export class Chart {
  // pick(past): [{label, values}]; format: of a value. area: filled below.
  constructor(title, { pick, format, note = "", area = false, most = 8 }) {
    this.title = title;
    this.pick = pick;
    this.format = format;
    this.area = area;
    this.most = most;
    this.plot = null;
    this.labels = "";
    this.data = [[]];
    this.canvas = element("div", { class: "canvas", role: "img" });
    this.legend = element("ul", { class: "legend" });
    this.when = element("p", { class: "quiet when", "aria-hidden": "true" });
    this.head = element("tr");
    this.body = element("tbody");
    this.caption = element("caption", { class: "hidden-text" }, title);
    const table = element("table", {}, this.caption, element("thead", {}, this.head), this.body);
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: samples` }, table);
    this.details = element("details", { ontoggle: () => this.fill() }, element("summary", {}, "Numbers"), scroll);
    this.empty = element("p", { class: "quiet" }, "Nothing yet.");
    const heading = element("h3", {}, title);
    const told = note ? element("p", { class: "quiet" }, note) : null;
    this.node = element("figure", { class: "chart" }, heading, told, this.canvas, this.empty, this.legend, this.when, this.details);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.canvas);
    all.add(this);
  }

  close() {
    this.watcher.disconnect();
    this.plot?.destroy();
    all.delete(this);
  }

  show(past, drawn) {
    const series = this.pick(past).filter((one) => one.values.some((value) => value !== null));
    this.series = series.slice(0, this.most);
    this.times = past.times;
    this.drawn = drawn && this.series.length > 0;
    this.node.classList.toggle("bare", this.series.length === 0);
    this.empty.hidden = this.series.length > 0;
    this.canvas.hidden = !this.drawn;
    this.details.hidden = this.series.length === 0;
    if (!drawn) this.details.open = true;
    this.list();
    if (this.drawn) this.draw();
    if (this.details.open) this.fill();
  }

  list() {
    const labels = JSON.stringify(this.series.map((one) => one.label));
    if (labels !== this.labels) {
      this.labels = labels;
      this.plot?.destroy();
      this.plot = null;
      this.legend.replaceChildren(
        ...this.series.map((one, place) =>
          element("li", {}, element("span", { class: `key key-${place % COLOURS}`, "aria-hidden": "true" }), element("span", {}, one.label), element("b")),
        ),
      );
    }
    this.tell(null);
    const words = this.series.map((one) => `${one.label} ${this.format(last(one.values))}`).join(", ");
    this.canvas.setAttribute("aria-label", `${this.title}, as a line over time. Now: ${words}.`);
  }

  // The numbers in the legend: at a sample, or the latest.
  tell(at) {
    this.series.forEach((one, place) => {
      const value = at === null ? last(one.values) : one.values[at];
      setText(this.legend.children[place].lastElementChild, this.format(value));
    });
    setText(this.when, at === null ? "" : time(this.times[at]));
  }

  draw() {
    const data = [this.times, ...this.series.map((one) => one.values)];
    if (this.plot) this.plot.setData(data);
    else this.plot = new window.uPlot(this.options(), data, this.canvas);
  }

  reset() {
    this.plot?.destroy();
    this.plot = null;
    if (this.drawn) this.draw();
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options() {
    const axis = { stroke: style("--quiet"), grid: { stroke: style("--grid"), width: 1 }, ticks: { stroke: style("--grid"), width: 1 }, font: "12px system-ui, sans-serif" };
    return {
      width: Math.max(this.canvas.clientWidth, 200),
      height: HEIGHT,
      legend: { show: false },
      cursor: { y: false, drag: { x: false, y: false }, points: { size: 6 } },
      hooks: { setCursor: [(plot) => this.tell(plot.cursor.idx ?? null)] },
      scales: { x: { time: true }, y: { range: (plot, low, high) => [Math.min(0, low ?? 0), high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, values: (plot, ticks, place, space, step) => ticks.map((at) => (step < 60 ? time(at) : minute(at))), space: 80 },
        { ...axis, size: 68, incrs: this.format === bytes ? POWERS : undefined, values: (plot, ticks) => ticks.map((value) => this.format(value)) },
      ],
      series: [
        {},
        ...this.series.map((one, place) => {
          const colour = style(`--series-${place % COLOURS}`);
          const dash = DASHES[Math.floor(place / COLOURS) % DASHES.length];
          return { label: one.label, stroke: colour, width: 2, dash, spanGaps: false, points: { show: false }, fill: this.area && place === 0 ? `${colour}22` : undefined };
        }),
      ],
    };
  }

  // The newest samples as a table, only while somebody looks at it.
  fill() {
    if (!this.details.open || !this.series) return;
    this.head.replaceChildren(...["Time", ...this.series.map((one) => one.label)].map((text) => element("th", { scope: "col" }, text)));
    const step = Math.max(1, Math.floor(this.times.length / ROWS));
    const places = [];
    for (let at = this.times.length - 1; at >= 0 && places.length < ROWS; at -= step) places.push(at);
    this.body.replaceChildren(
      ...places.map((at) =>
        element("tr", {}, element("th", { scope: "row" }, time(this.times[at])), ...this.series.map((one) => element("td", { class: "numeric" }, this.format(one.values[at])))),
      ),
    );
  }
}

function last(values) {
  for (let at = values.length - 1; at >= Math.max(0, values.length - 5); at -= 1) if (values[at] !== null) return values[at];
  return null;
}
