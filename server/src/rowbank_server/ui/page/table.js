// One table: what it is, how it went, what left it and why.

import { ask } from "./api.js";
import { Bars } from "./bars.js";
import { element } from "./dom.js";
import { bytes, count, moment, number, seconds, share } from "./format.js";
import { card, evictionGrid } from "./overview.js";
import { ofTable } from "./panels.js";
import { Past } from "./past.js";
import { Tiles } from "./tiles.js";
import { WhatIf } from "./whatif.js";

export class TableView {
  constructor(name) {
    this.name = name;
    this.title = `Table ${name}`;
    this.past = new Past(name);
    this.tiles = new Tiles();
    this.spec = element("dl", { class: "spec" });
    this.told = "";
    this.groups = ofTable();
    const range = (show) => (low, high) => (low === high ? show(low) : `${show(low)} to ${show(high)}`);
    this.frequencies = new Bars("By frequency", "How often keys were pushed, as it counts now", range(count));
    this.ages = new Bars("By age", "How long ago rows were last used", range(seconds));
    this.gone = [
      new Bars("Evicted, by frequency", "Of the evictions below", range(count)),
      new Bars("Evicted, by age", "Of the evictions below: time since the last use", range(seconds)),
    ];
    this.advice = element("p", { class: "notice", hidden: true });
    this.whatIf = new WhatIf(name);
    this.evictions = evictionGrid("Evictions of this table", false);
    this.elsewhere = element("p", { class: "notice", hidden: true }, "How a table went over time is known to its shards: their pages show it.");
    this.node = element(
      "div", {},
      element("p", {}, element("a", { href: "#/" }, "All tables")),
      element("h1", {}, `Table ${name}`),
      this.tiles.node,
      this.elsewhere,
      ...this.groups.map((group) => group.node),
      this.advice,
      card("Rows now", element("div", { class: "charts" }, this.frequencies.node, this.ages.node)),
      this.whatIf.node,
      card("Evictions", element("div", { class: "charts" }, ...this.gone.map((one) => one.node)), this.evictions.node),
      card("What it is", this.spec),
    );
  }

  async update(span) {
    const [said] = await Promise.all([ask("table", { name: this.name }), this.past.update(span)]);
    return said;
  }

  show(said, drawn) {
    const { stats } = said;
    const pulled = stats.pulled_found + stats.pulled_initialized + stats.pulled_not_admitted;
    this.tiles.show([
      ["Rows", count(stats.rows)],
      ["Memory", bytes(stats.bytes), `${bytes(stats.payload_bytes)} of values and slots`],
      ["Pulled rows found", pulled ? share(stats.pulled_found / pulled) : "–"],
      ["Evicted", number(stats.evicted_rows), `${number(stats.regretted_rows)} regretted`],
      ["Not written back", count(stats.dirty_rows)],
      ["Last write-back", stats.last_write_back_s ? `${seconds(Math.max(0, said.at_s - stats.last_write_back_s))} ago` : "never"],
      ["Step", count(stats.step)],
    ]);
    this.elsewhere.hidden = said.process.kind === "ps";
    this.describe(said);
    this.evictions.show(said.evictions);
    this.frequencies.show(said.histogram?.frequencies ?? [], drawn);
    this.ages.show(said.histogram?.ages ?? [], drawn);
    ["frequencies", "ages"].forEach((name, place) => this.gone[place].show(sums(said.evictions.map((one) => one[name] ?? [])), drawn));
    this.advice.hidden = !said.advice;
    this.advice.textContent = said.advice;
    for (const group of this.groups) {
      for (const chart of group.charts) chart.show(this.past, drawn);
      group.node.hidden = said.process.kind !== "ps";
    }
  }

  describe(said) {
    const rows = [...flat(said.spec), ["created", moment(said.created_at_s)], ["slots", said.slots.map((one) => `${one.name} x ${one.width}`).join(", ") || "none"]];
    const told = JSON.stringify(rows);
    if (told === this.told) return;
    this.told = told;
    this.spec.replaceChildren(...rows.map(([name, value]) => element("div", {}, element("dt", {}, name), element("dd", {}, value))));
  }

  close() {
    for (const bars of [this.frequencies, this.ages, ...this.gone]) bars.close();
    for (const group of this.groups) for (const chart of group.charts) chart.close();
  }
}

function sums(histograms) {
  const all = new Array(Math.max(0, ...histograms.map((one) => one.length))).fill(0);
  for (const one of histograms) one.forEach((rows, level) => (all[level] += rows));
  return all;
}

// {"eviction": {"max_rows": 5}} as [["eviction max rows", "5"]].
function flat(spec, before = "") {
  return Object.entries(spec).flatMap(([name, value]) => {
    const title = `${before} ${name}`.trim().replaceAll("_", " ");
    if (value === null || typeof value !== "object") return [[title, word(String(value))]];
    const inner = flat(value, title);
    return inner.length ? inner : [[title, "default"]];
  });
}

// DURABILITY_JOURNALED as "journaled".
const word = (text) => (/^[A-Z][A-Z0-9_]+$/.test(text) ? text.replace(/^(DATA_TYPE|DURABILITY|POLICY)_/, "").replaceAll("_", " ").toLowerCase() : text);
