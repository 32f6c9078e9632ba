// The first view: the process, its cluster, its tables and models, and how all of it went.

import { element } from "./dom.js";
import { bytes, count, moment, number, seconds, share } from "./format.js";
import { Grid } from "./grid.js";
import { ofRetrieval, ofShards } from "./panels.js";
import { Past } from "./past.js";
import { ask } from "./api.js";
import { Tiles } from "./tiles.js";

export const tableLink = (name) => `#/table/${encodeURIComponent(name)}`;

export function evictionGrid(caption, withTable) {
  const columns = [
    { name: "at", title: "When", text: (row) => moment(row.at_ms / 1000), value: (row) => row.at_ms },
    ...(withTable ? [{ name: "table", title: "Table", text: (row) => row.table, value: (row) => row.table }] : []),
    { name: "reason", title: "Reason", text: (row) => row.reason, value: (row) => row.reason },
    { name: "rows", title: "Rows", text: (row) => count(row.rows), value: (row) => row.rows, numeric: true },
    { name: "bytes", title: "Memory", text: (row) => bytes(row.bytes), value: (row) => row.bytes, numeric: true },
    { name: "left", title: "Rows left", text: (row) => count(row.rows_left), value: (row) => row.rows_left, numeric: true },
    { name: "cut", title: "Score up to", text: (row) => score(row.score_cut), numeric: true },
    { name: "regretted", title: "Regretted since the last", text: (row) => count(row.regretted), numeric: true },
    { name: "took", title: "Took", text: (row) => seconds(row.duration_ms / 1000), numeric: true },
    { name: "outcome", title: "Outcome", text: (row) => row.outcome.replaceAll("_", " ") },
    { name: "shard", title: "Shard", text: (row) => String(row.shard), numeric: true },
  ];
  return new Grid(caption, columns, { key: (row) => `${row.at_ms} ${row.table} ${row.shard} ${row.reason} ${row.rows}`, empty: "Nothing was evicted." });
}

export class Overview {
  title = "Overview";

  constructor() {
    this.past = new Past();
    this.groups = null;
    this.tiles = new Tiles();
    this.shards = new Grid("Processes of the shards", SHARD_COLUMNS, { key: (row) => row.server_id || row.address, empty: "No process of a shard is known." });
    this.tables = new Grid("Tables", TABLE_COLUMNS, { key: (row) => row.table, empty: "There are no tables yet.", sort: "bytes" });
    this.models = new Grid("Versions of models", MODEL_COLUMNS, { key: (row) => `${row.model} ${row.version}`, empty: "No model was published." });
    this.evictions = evictionGrid("The latest evictions", true);
    this.charts = element("div");
    this.node = element(
      "div", {},
      element("h1", { class: "hidden-text" }, "Overview"),
      this.tiles.node,
      card("Shards", this.shards.node),
      card("Tables", this.tables.node),
      card("Models", this.models.node),
      this.charts,
      card("The latest evictions", this.evictions.node),
    );
  }

  async update(span) {
    const [said] = await Promise.all([ask("overview"), this.past.update(span)]);
    return said;
  }

  show(said, drawn) {
    this.groups ??= this.addGroups(said.process.kind);
    this.tiles.show(tilesOf(said, this.past));
    this.shards.show(said.shards.flatMap((shard) => processesOf(shard)));
    this.tables.show(said.tables);
    this.models.show(said.models.flatMap((model) => versionsOf(model)));
    this.evictions.show(said.evictions.slice(0, 20));
    for (const group of this.groups) {
      for (const chart of group.charts) chart.show(this.past, drawn);
      group.node.hidden = group.charts.every((chart) => chart.series.length === 0);
    }
  }

  addGroups(kind) {
    const groups = kind === "api" ? ofRetrieval() : ofShards();
    this.charts.append(...groups.map((group) => group.node));
    return groups;
  }

  close() {
    for (const group of this.groups ?? []) for (const chart of group.charts) chart.close();
  }
}

// Of tables that evict by last use, a score is a moment.
const score = (value) => (value > 1e9 ? moment(value) : number(value));

export const card = (title, ...children) => element("section", { class: "card" }, element("h2", {}, title), ...children);

function tilesOf(said, past) {
  const { process, tables } = said;
  const total = (name) => tables.reduce((all, table) => all + table[name], 0);
  const rows = [
    ["Tables", count(tables.length)],
    ["Rows", count(total("rows"))],
    ["Memory of rows", bytes(total("bytes"))],
  ];
  if (process.kind === "ps") {
    rows.push(["Write-back behind", seconds(past.latest("rowbank_write_back_lag_seconds", "value"))]);
    rows.push(["Redis memory", process.redis_used_bytes === null ? "–" : bytes(process.redis_used_bytes), process.redis_max_bytes ? `of ${bytes(process.redis_max_bytes)}` : "no limit"]);
  } else {
    rows.push(["Models served", count(said.served?.length)], ["Items", count(said.served?.reduce((all, one) => all + one.items, 0))]);
  }
  rows.push(["Up for", seconds(said.at_s - process.started_at_s)]);
  return rows;
}

function processesOf(shard) {
  const rows = shard.processes.map((one) => ({ ...one, shard: shard.shard }));
  if (rows.length || !shard.problem) return rows;
  return [{ shard: shard.shard, role: "", state: shard.problem, address: "", server_id: `missing ${shard.shard}` }];
}

function versionsOf(model) {
  const shares = Object.values(model.shares).reduce((all, one) => all + one, 0);
  return model.versions.map((one) => ({
    ...one,
    model: model.name,
    traffic: one.version === model.active ? 1 - shares : (model.shares[one.version] ?? null),
    shadow: one.version === model.shadow,
  }));
}

const isWell = (row) => (["serving", "following"].includes(row.state) ? "good" : "warn");

const SHARD_COLUMNS = [
  { name: "shard", title: "Shard", text: (row) => String(row.shard) },
  { name: "role", title: "Role", text: (row) => row.role || "unknown" },
  { name: "state", title: "State", text: (row) => row.state, mark: isWell },
  { name: "address", title: "Address", text: (row) => row.address },
  { name: "epoch", title: "Epoch", text: (row) => count(row.epoch), numeric: true },
  { name: "position", title: "Position", text: (row) => count(row.position), numeric: true },
  { name: "lag", title: "Behind", text: (row) => (row.role === "owner" ? "–" : seconds(row.age_s)), numeric: true },
  { name: "rows", title: "Rows", text: (row) => count(row.rows), numeric: true },
  { name: "version", title: "Version", text: (row) => row.version ?? "" },
];

const TABLE_COLUMNS = [
  { name: "table", title: "Table", text: (row) => row.table, link: (row) => tableLink(row.table), value: (row) => row.table },
  { name: "rows", title: "Rows", text: (row) => count(row.rows), value: (row) => row.rows, numeric: true },
  { name: "dim", title: "Dim", text: (row) => count(row.dim), value: (row) => row.dim, numeric: true },
  { name: "bytes", title: "Memory", text: (row) => bytes(row.bytes), value: (row) => row.bytes, numeric: true },
  { name: "dirty", title: "Not written back", text: (row) => count(row.dirty_rows), value: (row) => row.dirty_rows, numeric: true },
  { name: "pulled", title: "Pulled", text: (row) => number(row.pulled_rows), value: (row) => row.pulled_rows, numeric: true },
  { name: "pushed", title: "Pushed", text: (row) => number(row.pushed_rows), value: (row) => row.pushed_rows, numeric: true },
  { name: "evicted", title: "Evicted", text: (row) => number(row.evicted_rows), value: (row) => row.evicted_rows, numeric: true },
  { name: "regretted", title: "Regretted", text: (row) => number(row.regretted_rows), value: (row) => row.regretted_rows, numeric: true },
  { name: "step", title: "Step", text: (row) => count(row.step), value: (row) => row.step, numeric: true },
];

const MODEL_COLUMNS = [
  { name: "version", title: "Version", text: (row) => row.version },
  { name: "model", title: "Model", text: (row) => row.model, value: (row) => row.model },
  { name: "active", title: "State", text: (row) => [row.active ? "active" : "", row.shadow ? "shadow" : ""].filter(Boolean).join(", ") || "stored", mark: (row) => (row.active ? "good" : "") },
  { name: "traffic", title: "Traffic", text: (row) => (row.traffic === null ? "–" : share(row.traffic)), numeric: true },
  { name: "created", title: "Published", text: (row) => moment(row.created_at_s), value: (row) => row.created_at_s },
  { name: "tables", title: "Tables", text: (row) => row.tables.join(", ") },
  { name: "metrics", title: "Metrics", text: (row) => Object.entries(row.metrics).slice(0, 3).map(([name, value]) => `${name} ${number(value)}`).join(", ") },
];
