// Shows an answer: its items, what was not as it should be, and how it came to be.

import { byId, duration, make, show, shown, table } from "./dom.js";

const SOURCES = {
  personal: "this user's vector",
  session: "the items of a history or session",
  vector: "a given vector",
  popular: "what is popular with everybody",
};
const NOTES = {
  "user:unknown": "The model knows nothing of this user, so it fell back.",
  "features:outside_max_age": "The user's features are too old; defaults were used.",
  "features:unavailable":
    "The user's features could not be read in time: defaults were used, and what was seen is not left out.",
  "features:unusable": "A stored feature of the user cannot be used; its default was.",
  "features:defaulted": "Some features were not given; defaults were used.",
  "rows:unavailable": "The parameter server did not answer in time.",
  "rows:table_dropped": "A table of this version was dropped, so its rows are not read.",
  "rows:table_changed": "A table of this version was changed, so its rows are not read.",
  "rows:trained_by_another_run": "A table of this version was trained by another run, so its rows are not read.",
  "filled:popular": "The model scored fewer items than were asked for; popular ones follow.",
  "session:unknown_items": "The catalogue has none of the session's items.",
};

export const sourceInWords = (source) => SOURCES[source] ?? source;

// One item as an entry of a list; `onSimilar(item)` is called where somebody wants what is near it.
export function entry(item, onSimilar) {
  const title = item.title || String(item.id);
  return make("li", { class: "item" },
    make("span", { class: "rank", "aria-hidden": "true" }, String(item.rank)),
    make("div", { class: "what" },
      make("span", { class: "title", dir: "auto" }, title),
      make("span", { class: "quiet id" }, String(item.id)),
      item.parts ? parts(item) : null),
    make("span", { class: "score" }, item.score === null || item.score === undefined
      ? make("span", { class: "tag" }, "filled up") : score(item.score)),
    make("button", { type: "button", class: "similar", "aria-label": `Similar to ${title}`,
      onclick: () => onSimilar(item) }, "Similar"));
}

// Fractions in columns; counts, as of what is popular, as such.
const score = (number) => (Number.isInteger(number) ? shown(number) : number.toFixed(3));

// How a score is put together, where that is more than the score says; nothing of what was only counted.
function parts({ parts: held }) {
  const scale = held.logit_scale === 1 ? "" : ` × ${shown(held.logit_scale)}`;
  const boosts = Object.entries(held.boosts ?? {}).filter(([, add]) => add !== 0);
  const dot = held.logit_scale !== 0 && (scale || boosts.length) ? [`${shown(held.dot)}${scale}`] : [];
  const sum = [...dot, ...boosts.map(([name, add]) => `${add < 0 ? "−" : "+"} ${shown(Math.abs(add))} ${name}`)].join(" ");
  const met = held.interactions ? `in histories ${held.interactions === 1 ? "once" : `${shown(held.interactions)} times`}` : "";
  return make("span", { class: "quiet parts" }, [sum, met].filter(Boolean).join("; "));
}

export function notes(answer) {
  const lines = (answer.degraded ?? []).map((word) =>
    make("li", { "data-word": word }, NOTES[word] ?? `Not as it should be: ${word}.`));
  const list = byId("answer-notes");
  list.replaceChildren(...lines);
  show(list, lines.length > 0);
}

export function explanation(answer) {
  const told = answer.explanation ?? {};
  const sections = [];
  if (told.features?.length) {
    sections.push(table("Features of the query", ["Feature", "Came from", "Age"], told.features.map((one) =>
      [one.name, one.status, one.age_s ? duration(one.age_s) : "–"])));
  } else if (answer.defaulted?.length) {
    sections.push(table("Features that had no value", ["Feature"], answer.defaulted.map((one) => [one])));
  }
  if (told.candidates?.length) {
    sections.push(table("Candidates by step", ["Step", "Before", "After"], told.candidates.map((one) =>
      [one.step, one.before, one.after])));
  }
  if (told.rows?.length) {
    sections.push(table("Rows that were read", ["Table", "Keys", "Found", "Rows are", "Age"], told.rows.map((one) =>
      [one.table, one.keys, one.found, one.mode, one.age_s ? duration(one.age_s) : "–"]), { wide: true }));
  }
  const timings = Object.entries(answer.timings_ms ?? {});
  if (timings.length) sections.push(table("Time by stage", ["Stage", "Milliseconds"], timings));
  const facts = [
    ["Based on", sourceInWords(answer.source)],
    ["Model version", answer.model_version],
    ["Why this version", told.split],
    ["Index", [told.index, answer.index_version].filter(Boolean).join(", build ")],
  ].filter(([, fact]) => fact);
  sections.unshift(make("dl", { class: "facts" }, facts.map(([name, fact]) => [make("dt", {}, name), make("dd", {}, fact)])));
  byId("explanation-body").replaceChildren(...sections);
  show(byId("explanation"), true);
}
