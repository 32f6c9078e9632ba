// The samples that were seen, brought up to date by what is new, and dropped when another process answers.

import { ask } from "./api.js";

const nameOf = (one) => `${one.metric} ${one.what} ${JSON.stringify(one.labels)}`;

export class Past {
  constructor(table = "") {
    this.table = table;
    this.span = "10m";
    this.clear();
  }

  clear() {
    this.times = [];
    this.series = new Map();
    this.pace_s = 1;
    this.left_out = 0;
  }

  async update(span) {
    if (span !== this.span) this.clear();
    this.span = span;
    const after = this.times.at(-1) ?? 0;
    const parameters = { span, after: String(after), ...(this.table ? { table: this.table } : {}) };
    const news = await ask("history", parameters);
    this.pace_s = news.pace_s;
    this.left_out = news.left_out;
    this.add(news.times, news.series);
  }

  add(times, series) {
    const before = this.times.length;
    this.times.push(...times);
    for (const one of series) {
      const name = nameOf(one);
      const held = this.series.get(name) ?? { ...one, values: new Array(before).fill(null) };
      if (!this.series.has(name)) this.series.set(name, held);
      else held.values.push(...new Array(before - held.values.length).fill(null));
      if (held.values.length === before) held.values.push(...one.values);
    }
    for (const held of this.series.values()) {
      held.values.push(...new Array(this.times.length - held.values.length).fill(null));
    }
    this.trim();
  }

  // The ring of the process holds so much, and no more.
  trim() {
    const oldest = (this.times.at(-1) ?? 0) - { "10m": 600, "2h": 7200, "24h": 86_400 }[this.span];
    const drop = this.times.findIndex((at) => at > oldest);
    if (drop <= 0) return;
    this.times.splice(0, drop);
    for (const held of this.series.values()) held.values.splice(0, drop);
  }

  // The series of a metric: of one kind, with exactly the labels of these names.
  of(metric, what, labels = []) {
    const names = [...labels].sort().join();
    return [...this.series.values()].filter(
      (one) => one.metric === metric && one.what === what && Object.keys(one.labels).sort().join() === names,
    );
  }

  latest(metric, what) {
    return this.of(metric, what)[0]?.values.at(-1) ?? null;
  }
}
