// The charts that there are, by what they are about. A chart whose metrics a process does not have says so.

import { Chart } from "./charts.js";
import { element } from "./dom.js";
import { bytes, count, number, rate, seconds } from "./format.js";

const lines = (found, label) => found.map((one) => ({ label: label(one.labels), values: one.values }));
const single = (past, metric, what, label) => lines(past.of(metric, what), () => label);
const busiest = (series) => [...series].sort((a, b) => sum(b.values) - sum(a.values));
const sum = (values) => values.reduce((all, value) => all + (value ?? 0), 0);

const latency = (metric, label, share, wanted) => (past) =>
  busiest(lines(past.of(metric, share, [label]), (labels) => labels[label])).filter((one) => !wanted || wanted.includes(one.label));

export const ofShards = () => [
  group("Sizes", [
    new Chart("Rows by table", { pick: (past) => lines(past.of("rowbank_table_rows", "value", ["table"]), (labels) => labels.table), format: count }),
    new Chart("Memory by table", { pick: (past) => lines(past.of("rowbank_table_bytes", "value", ["table"]), (labels) => labels.table), format: bytes }),
  ]),
  group("Requests", [
    new Chart("Rows pulled and pushed", { pick: (past) => [...single(past, "rowbank_pulled_rows", "rate", "pulled"), ...single(past, "rowbank_pushed_rows", "rate", "pushed")], format: rate }),
    new Chart("Requests by method", { pick: (past) => busiest(lines(past.of("rowbank_requests", "rate", ["method"]), (labels) => labels.method)), format: rate }),
    new Chart("Latency of half the requests", { pick: latency("rowbank_request_seconds", "method", "p50", ["Pull", "Push", "Lookup", "Upsert"]), format: seconds, note: "p50 by method" }),
    new Chart("Latency of the slowest hundredth", { pick: latency("rowbank_request_seconds", "method", "p99", ["Pull", "Push", "Lookup", "Upsert"]), format: seconds, note: "p99 by method" }),
  ]),
  group("Load", [
    new Chart("Waiting for a turn", { pick: latency("rowbank_queue_wait_seconds", "line", "p99"), format: seconds, note: "p99 of row requests" }),
    new Chart("Refused as overload", { pick: (past) => lines(past.of("rowbank_overloaded", "rate", ["reason"]), (labels) => labels.reason).filter((one) => sum(one.values) > 0), format: rate }),
  ]),
  group("Evictions", [
    new Chart("Rows evicted by reason", { pick: (past) => lines(past.of("rowbank_evictions", "rate", ["reason"]), (labels) => labels.reason), format: rate }),
    new Chart("Regret", { pick: (past) => single(past, "rowbank_regretted_rows", "rate", "pushed again soon after"), format: rate, note: "Rows pushed again within an hour of their eviction" }),
  ]),
  group("Durability", [
    new Chart("Journal", { pick: (past) => [...single(past, "rowbank_journal_bytes", "value", "not written back yet"), ...single(past, "rowbank_journal_pending_bytes", "value", "not in Redis yet")], format: bytes }),
    new Chart("Write-back", { pick: (past) => [...single(past, "rowbank_write_back_lag_seconds", "value", "behind"), ...single(past, "rowbank_write_back_duration_seconds", "value", "last one took")], format: seconds }),
    new Chart("Rows not written back yet", { pick: (past) => single(past, "rowbank_table_dirty_rows", "value", "rows"), format: count }),
    new Chart("Redis memory", { pick: (past) => [...single(past, "rowbank_redis_used_memory_bytes", "value", "used"), ...limit(past)], format: bytes }),
  ]),
  group("Followers", [
    new Chart("Behind the owner", { pick: (past) => [...single(past, "rowbank_follower_lag_seconds", "value", "the slowest follower"), ...single(past, "rowbank_replica_age_seconds", "value", "this process")], format: seconds }),
  ]),
  ofProcess(),
];

const limit = (past) => single(past, "rowbank_redis_max_memory_bytes", "value", "limit").filter((one) => one.values.some((value) => value > 0));

export const ofRetrieval = () => [
  group("Queries", [
    new Chart("HTTP requests by route", { pick: (past) => busiest(lines(past.of("rowbank_http_request_duration_seconds", "rate", ["route"]), (labels) => labels.route)), format: rate }),
    new Chart("Answers by what they are based on", { pick: (past) => lines(past.of("rowbank_retrieval_answers", "rate", ["source"]), (labels) => labels.source), format: rate }),
    new Chart("Latency of half the answers", { pick: latency("rowbank_model_answer_seconds", "model", "p50"), format: seconds, note: "p50 by model" }),
    new Chart("Latency of the slowest hundredth", { pick: latency("rowbank_model_answer_seconds", "model", "p99"), format: seconds, note: "p99 by model" }),
    new Chart("Stages of an answer", { pick: latency("rowbank_retrieval_stage_seconds", "stage", "p99"), format: seconds, note: "p99 by stage" }),
    new Chart("Degraded answers by reason", { pick: (past) => lines(past.of("rowbank_retrieval_degraded", "rate", ["reason"]), (labels) => labels.reason), format: rate }),
    new Chart("Queries not answered", { pick: (past) => lines(past.of("rowbank_retrieval_dropped", "rate", ["reason"]), (labels) => labels.reason), format: rate }),
    new Chart("Answers by version", { pick: (past) => busiest(lines(past.of("rowbank_model_answers", "rate", ["model", "version"]), (labels) => `${labels.model} ${labels.version}`)), format: rate }),
  ]),
  group("Index", [
    new Chart("From a change to the search", { pick: latency("rowbank_index_lag_seconds", "model", "p99"), format: seconds, note: "p99 of changed items, by model" }),
    new Chart("From a moved row to the search", { pick: latency("rowbank_index_row_lag_seconds", "model", "p99"), format: seconds, note: "p99 of live rows, by model" }),
    new Chart("Items that a search finds", { pick: (past) => lines(past.of("rowbank_index_items", "value", ["model"]), (labels) => labels.model), format: count }),
    new Chart("Reads of users' features", { pick: (past) => lines(past.of("rowbank_feature_status", "rate", ["status"]), (labels) => labels.status), format: rate }),
  ]),
  ofProcess(),
];

export const ofTable = () => [
  group("Size", [
    new Chart("Rows", { pick: (past) => lines(past.of("rowbank_table_rows", "value", ["table"]), () => "rows"), format: count, area: true }),
    new Chart("Memory", { pick: (past) => lines(past.of("rowbank_table_bytes", "value", ["table"]), () => "memory"), format: bytes, area: true }),
  ]),
  group("Traffic", [
    new Chart("Rows pulled by outcome", { pick: (past) => lines(past.of("rowbank_pulled_rows", "rate", ["status", "table"]), (labels) => labels.status), format: rate }),
    new Chart("Rows pushed and new rows", { pick: (past) => [...lines(past.of("rowbank_pushed_rows", "rate", ["table"]), () => "pushed"), ...lines(past.of("rowbank_inserted_rows", "rate", ["table"]), () => "new")], format: rate }),
    new Chart("Rows evicted by reason", { pick: (past) => lines(past.of("rowbank_evictions", "rate", ["reason", "table"]), (labels) => labels.reason), format: rate }),
    new Chart("Regret", { pick: (past) => lines(past.of("rowbank_regretted_rows", "rate", ["table"]), () => "pushed again soon after"), format: rate }),
    new Chart("Rows not written back yet", { pick: (past) => lines(past.of("rowbank_table_dirty_rows", "value", ["table"]), () => "rows"), format: count }),
  ]),
];

function ofProcess() {
  return group("This process", [
    new Chart("Memory", { pick: (past) => [...single(past, "process_resident_memory_bytes", "value", "resident"), ...single(past, "rowbank_memory_limit_bytes", "value", "limit").filter((one) => sum(one.values) > 0)], format: bytes, area: true }),
    new Chart("Processors", { pick: (past) => single(past, "process_cpu_seconds", "rate", "cores in use"), format: number, area: true }),
  ]);
}

function group(title, charts) {
  return { title, charts, node: element("section", { class: "card" }, element("h2", {}, title), element("div", { class: "charts" }, ...charts.map((chart) => chart.node))) };
}
