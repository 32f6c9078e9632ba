// One table: what it is, how it went, what left it and why.

import { ask } from "./api.js";
import { element } from "./dom.js";
import { bytes, count, moment, number, seconds, share } from "./format.js";
import { card, evictionGrid } from "./overview.js";
import { ofTable } from "./panels.js";
import { Past } from "./past.js";
import { Tiles } from "./tiles.js";

export class TableView {
  constructor(name) {
    this.name = name;
    this.title = `Table ${name}`;
    this.past = new Past(name);
    this.tiles = new Tiles();
    this.spec = element("dl", { class: "spec" });
    this.told = "";
    this.groups = ofTable();
    this.evictions = evictionGrid("Evictions of this table", false);
    this.elsewhere = element("p", { class: "notice", hidden: true }, "How a table went over time is known to its shards: their pages show it.");
    this.node = element(
      "div", {},
      element("p", {}, element("a", { href: "#/" }, "All tables")),
      element("h1", {}, `Table ${name}`),
      this.tiles.node,
      this.elsewhere,
      ...this.groups.map((group) => group.node),
      card("Evictions", this.evictions.node),
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
    for (const group of this.groups) for (const chart of group.charts) chart.close();
  }
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
