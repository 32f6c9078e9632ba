// A few conditions on item features, each of which keeps, leaves out or lifts items; together they are a filter and
// boosts in the API's JSON.

import { byId, make, show } from "./dom.js";

const NUMBERS = ["int64", "double"];
const TESTS = {
  any: { label: "is one of", kinds: ["string", "int64", "double"] },
  has: { label: "has one of", test: "any", kinds: ["string_list", "int64_list", "float_list"] },
  all: { label: "has all of", kinds: ["string_list", "int64_list", "float_list"] },
  gte: { label: "is at least", kinds: NUMBERS },
  lte: { label: "is at most", kinds: NUMBERS },
  yes: { label: "is true", kinds: ["bool"], none: true },
  no: { label: "is false", kinds: ["bool"], none: true },
  exists: { label: "is known", kinds: null, none: true },
};
const EFFECTS = { keep: "keep only", drop: "leave out", lift: "lift" };

let known = []; // [{name, type, values}] of the model's items.
let changed = () => {};
let numbered = 0;

export function onChange(listener) {
  changed = listener;
}

// What features the items of a model have.
export function setFeatures(features) {
  known = features;
  for (const row of rows()) if (!known.some((one) => one.name === row.feature.value)) row.element.remove();
  byId("add-condition").disabled = !known.length;
  const diversity = byId("diversity");
  const before = diversity.value;
  diversity.replaceChildren(make("option", { value: "" }, "nothing"),
    ...known.map((one) => make("option", { value: one.name }, one.name)));
  diversity.value = known.some((one) => one.name === before) ? before : "";
  show(byId("diversity-field"), known.length > 0);
  refresh();
}

export function setNamed(filters) {
  const select = byId("named-filter");
  show(select, filters.length > 0);
  select.replaceChildren(make("option", { value: "" }, "Stored filter: none"),
    ...filters.map((one) => make("option", { value: one.name }, one.name)));
}

function rows() {
  return [...byId("conditions").children].map((element) => element.parts);
}

export function add() {
  const number = ++numbered;
  const part = (name) => `condition-${number}-${name}`;
  const effect = make("select", { "aria-label": "What it does", id: part("effect") },
    Object.entries(EFFECTS).map(([value, label]) => make("option", { value }, label)));
  const feature = make("select", { "aria-label": "Feature", id: part("feature") },
    known.map((one) => make("option", { value: one.name }, one.name)));
  const test = make("select", { "aria-label": "How it is compared", id: part("test") });
  const value = make("input", { "aria-label": "Value; several with commas", autocomplete: "off", spellcheck: "false",
    list: part("values"), id: part("value") });
  const values = make("datalist", { id: part("values") });
  const lift = make("input", { type: "number", step: "any", value: "1", "aria-label": "By how much the score is lifted",
    id: part("lift") });
  const element = make("li", {}, effect, lift, feature, test, value, values,
    make("button", { type: "button", class: "remove", "aria-label": "Remove this condition", onclick: () => {
      const next = element.nextElementSibling ?? element.previousElementSibling;
      element.remove();
      (next?.querySelector("select") ?? byId("add-condition")).focus();
      refresh();
      changed();
    } }, "×"));
  element.parts = { element, effect, feature, test, value, values, lift };
  byId("conditions").append(element);
  feature.addEventListener("change", () => offer(element.parts));
  for (const one of [effect, feature, test, value, lift]) {
    one.addEventListener("change", () => {
      refresh();
      changed();
    });
  }
  offer(element.parts);
  refresh();
  feature.focus();
}

// The tests and values that go with the feature of a condition.
function offer({ feature, test, values }) {
  const held = known.find((one) => one.name === feature.value);
  const before = test.value;
  const fitting = Object.entries(TESTS).filter(([, one]) => one.kinds === null || one.kinds.includes(held?.type));
  test.replaceChildren(...fitting.map(([name, one]) => make("option", { value: name }, one.label)));
  if (fitting.some(([name]) => name === before)) test.value = before;
  values.replaceChildren(...(held?.values ?? []).map((one) => make("option", { value: one })));
}

function refresh() {
  const all = rows();
  show(byId("no-conditions"), !all.length);
  show(byId("diversity-limit"), byId("diversity").value !== "");
  for (const { effect, test, value, lift } of all) {
    show(value, !TESTS[test.value]?.none);
    show(lift, effect.value === "lift");
  }
  if (!byId("json").value.trim() || byId("json").made) {
    const made = built().filter;
    byId("json").value = made ? JSON.stringify(made, null, 2) : "";
    byId("json").made = true;
  }
}

// A word as a value of the feature's type; what is no number is sent as it is, and the service says what it expected.
function parsed(word, type) {
  const number = Number(word);
  const plain = NUMBERS.includes(type) || ["int64_list", "float_list"].includes(type);
  return plain && word !== "" && Number.isFinite(number) && (Number.isSafeInteger(number) || !Number.isInteger(number))
    ? number : word;
}

function condition({ feature, test, value }) {
  const type = known.find((one) => one.name === feature.value)?.type;
  const asked = TESTS[test.value];
  if (test.value === "exists") return { feature: feature.value, exists: true };
  if (test.value === "yes" || test.value === "no") return { feature: feature.value, any: [test.value === "yes"] };
  const words = value.value.split(",").map((word) => word.trim()).filter((word) => word !== "");
  if (!words.length) return null; // Not filled in yet.
  if (test.value === "gte" || test.value === "lte") return { feature: feature.value, [test.value]: parsed(words[0], type) };
  return { feature: feature.value, [asked.test ?? test.value]: words.map((word) => parsed(word, type)) };
}

// What explanations call a boost.
function inWords({ feature, test, value }) {
  const asked = TESTS[test.value];
  return [feature.value, asked.label, asked.none ? "" : value.value.trim()].join(" ").trim().slice(0, 60);
}

function built() {
  const parts = [];
  const boosts = [];
  for (const row of rows()) {
    const made = condition(row);
    if (made === null) continue;
    if (row.effect.value === "keep") parts.push(made);
    else if (row.effect.value === "drop") parts.push({ not: made });
    else boosts.push({ filter: made, add: Number(row.lift.value) || 0, name: inWords(row) });
  }
  const named = byId("named-filter").value;
  if (named) parts.push({ named });
  const filter = parts.length > 1 ? { and: parts } : parts[0] ?? null;
  return { filter, boosts };
}

// What the question says of items: {filter?, boosts?, diversity?}. Null: what is typed as JSON is none; the page says so.
export function question() {
  const made = built();
  const fault = byId("json-fault");
  const text = byId("json").value.trim();
  show(fault, false);
  let filter = made.filter;
  if (text && !byId("json").made) {
    try {
      filter = JSON.parse(text);
    } catch (error) {
      fault.textContent = `This is no JSON: ${error.message}`;
      byId("json-box").open = true;
      show(fault, true);
      return null;
    }
  }
  const diverse = byId("diversity").value;
  return {
    ...(filter ? { filter } : {}),
    ...(made.boosts.length ? { boosts: made.boosts } : {}),
    ...(diverse ? { diversity: { feature: diverse, max_per_value: Number(byId("diversity-most").value) || 1 } } : {}),
  };
}

export function start() {
  byId("add-condition").addEventListener("click", add);
  byId("named-filter").addEventListener("change", () => {
    refresh();
    changed();
  });
  byId("json").addEventListener("input", () => {
    byId("json").made = false;
  });
  byId("json").addEventListener("change", () => {
    if (!byId("json").value.trim()) refresh();
    changed();
  });
  for (const id of ["diversity", "diversity-most"]) {
    byId(id).addEventListener("change", () => {
      refresh();
      changed();
    });
  }
}
