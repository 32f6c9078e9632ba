// Bars over levels (0, 1, 2-3, 4-7, ...) by uPlot, with the same numbers as a table.

import { element } from "./dom.js";
import { count } from "./format.js";

const HEIGHT = 180;
const all = new Set();
const style = (name) => getComputedStyle(document.documentElement).getPropertyValue(name).trim();

export function repaintBars() {
  for (const one of all) one.reset();
}

// "2-3" of level 2: those from 2 ** 1 to 2 ** 2 - 1.
const levelText = (level, unit) => unit(level < 2 ? level : 2 ** (level - 1), level < 2 ? level : 2 ** level - 1);

export class Bars {
  // unit(low, high): how a level is called.
  constructor(title, note, unit) {
    this.title = title;
    this.unit = unit;
    this.levels = [];
    this.plot = null;
    this.told = "";
    this.canvas = element("div", { class: "canvas", role: "img" });
    this.body = element("tbody");
    const head = element("tr", {}, element("th", { scope: "col" }, "Level"), element("th", { scope: "col", class: "numeric" }, "Rows"));
    const table = element("table", {}, element("caption", { class: "hidden-text" }, title), element("thead", {}, head), this.body);
    const scroll = element("div", { class: "scroll", tabindex: "0", role: "region", "aria-label": `${title}: numbers` }, table);
    this.details = element("details", {}, element("summary", {}, "Numbers"), scroll);
    this.empty = element("p", { class: "quiet" }, "Nothing yet.");
    this.node = element("figure", { class: "chart" }, element("h3", {}, title), element("p", { class: "quiet" }, note), this.canvas, this.empty, this.details);
    this.watcher = new ResizeObserver(() => this.resize());
    this.watcher.observe(this.canvas);
    all.add(this);
  }

  close() {
    this.watcher.disconnect();
    this.plot?.destroy();
    all.delete(this);
  }

  show(levels, drawn) {
    const told = JSON.stringify([levels, drawn]);
    if (told === this.told) return;
    this.told = told;
    this.levels = levels;
    this.drawn = drawn && levels.length > 0;
    this.empty.hidden = levels.length > 0;
    this.details.hidden = levels.length === 0;
    this.canvas.hidden = !this.drawn;
    if (!drawn) this.details.open = true;
    const names = levels.map((_, level) => levelText(level, this.unit));
    const most = levels.indexOf(Math.max(...levels));
    this.canvas.setAttribute("aria-label", levels.length ? `${this.title}, as bars. Most rows, ${count(levels[most])}, are at ${names[most]}.` : this.title);
    this.body.replaceChildren(
      ...levels.map((rows, level) => element("tr", {}, element("th", { scope: "row" }, names[level]), element("td", { class: "numeric" }, count(rows)))),
    );
    this.reset();
  }

  reset() {
    this.plot?.destroy();
    this.plot = null;
    if (this.drawn) this.plot = new window.uPlot(this.options(), [this.levels.map((_, level) => level), this.levels], this.canvas);
  }

  resize() {
    const width = this.canvas.clientWidth;
    if (this.plot && width > 0 && width !== this.plot.width) this.plot.setSize({ width, height: HEIGHT });
  }

  options() {
    const grid = { stroke: style("--grid"), width: 1 };
    const axis = { stroke: style("--quiet"), grid, ticks: grid, font: "12px system-ui, sans-serif" };
    const colour = style("--series-0");
    return {
      width: Math.max(this.canvas.clientWidth, 200),
      height: HEIGHT,
      legend: { show: false },
      cursor: { show: false },
      scales: { x: { time: false, range: [-0.6, this.levels.length - 0.4] }, y: { range: (plot, low, high) => [0, high > 0 ? high * 1.08 : 1] } },
      axes: [
        { ...axis, grid: { show: false }, incrs: [1, 2, 4, 8], space: 84, values: (plot, ticks) => ticks.map((level) => (Number.isInteger(level) && level >= 0 ? levelText(level, this.unit) : "")) },
        { ...axis, size: 68, values: (plot, ticks) => ticks.map((rows) => (Number.isInteger(rows) ? count(rows) : "")) },
      ],
      series: [{}, { label: "rows", stroke: colour, fill: `${colour}55`, width: 1, paths: window.uPlot.paths.bars({ size: [0.8, 80] }), points: { show: false } }],
    };
  }
}
