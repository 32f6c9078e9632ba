// A policy tried in thought: what it would have found, evicted and cost. It changes nothing.

import { ask } from "./api.js";
import { element, setText } from "./dom.js";
import { bytes, count, number, seconds, share } from "./format.js";
import { Grid } from "./grid.js";

const COLUMNS = [
  { name: "policy", title: "Policy", text: (row) => row.policy },
  { name: "hits", title: "Hit rate", text: (row) => share(row.hit_rate), numeric: true },
  { name: "regret", title: "Regret", text: (row) => share(row.regret_share), numeric: true },
  { name: "evicted", title: "Evicted an hour", text: (row) => number(row.evicted_per_hour), numeric: true },
  { name: "kept", title: "Rows kept now", text: (row) => count(row.rows_kept_now), numeric: true },
  { name: "later", title: "Rows later", text: (row) => count(row.rows_later), numeric: true },
  { name: "bytes", title: "Memory later", text: (row) => bytes(row.bytes_later), numeric: true },
];

export class WhatIf {
  constructor(table) {
    this.table = table;
    this.tried = [];
    this.policy = element("select", { id: "what-policy" }, ...[["", "as it is"], ["lfu", "lfu"], ["lru", "lru"], ["none", "none"]].map(([value, text]) => element("option", { value }, text)));
    this.fields = [
      ["max_rows", "Most rows", "such as 2M"],
      ["ttl_s", "Age at most, s", "0: none"],
      ["half_life_s", "Half-life, s", "0: none"],
      ["min_count", "Admitted at", "occurrences"],
    ].map(([name, title, hint]) => ({ name, title, input: element("input", { id: `what-${name}`, placeholder: hint, autocomplete: "off", inputmode: "text" }) }));
    this.said = element("p", { role: "status" });
    this.notes = element("ul", { class: "quiet" });
    this.grid = new Grid("Policies tried in thought", COLUMNS, { key: (row) => row.key, empty: "" });
    const field = (id, title, input) => element("div", { class: "field" }, element("label", { for: id }, title), input);
    this.form = element(
      "form", { class: "fields", onsubmit: (event) => this.submit(event) },
      field("what-policy", "Policy", this.policy),
      ...this.fields.map((one) => field(`what-${one.name}`, one.title, one.input)),
      element("button", { type: "submit", class: "main" }, "Try in thought"),
    );
    const told = element("p", { class: "quiet" }, "What another policy would have done with the traffic of late. Nothing is changed.");
    this.node = element("section", { class: "card" }, element("h2", {}, "What if"), told, this.form, this.said, this.grid.node, this.notes);
  }

  async submit(event) {
    event.preventDefault();
    const given = [["policy", this.policy.value], ...this.fields.map((one) => [one.name, one.input.value.trim()])];
    const policy = given.filter(([, value]) => value !== "").map(([name, value]) => `${name}=${value}`).join(",");
    if (!policy) {
      setText(this.said, "Say what is to be otherwise: a policy, a cap, an age.");
      return;
    }
    setText(this.said, "Trying …");
    try {
      this.show(await ask("what-if", { name: this.table, policy }));
    } catch (error) {
      setText(this.said, error.message);
    }
  }

  show(told) {
    const found = [{ ...told.present, key: "now", policy: `now: ${told.present.policy}` }];
    this.tried = [...told.policies.map((one) => ({ ...one, key: one.policy })), ...this.tried.filter((one) => !told.policies.some((other) => other.policy === one.policy))].slice(0, 6);
    this.grid.show([...found, ...this.tried]);
    const measured = told.measured_hit_rate === null ? "" : ` The table itself found ${share(told.measured_hit_rate)}.`;
    setText(this.said, told.accesses ? `Of ${count(told.accesses)} accesses in the last ${seconds(told.sampled_s)}.${measured}` : "There were no accesses of late to try it with.");
    this.notes.replaceChildren(...told.approximations.map((text) => element("li", {}, text)));
  }
}
