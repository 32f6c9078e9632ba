// The page as a whole: what is asked, by whom it is answered, and one answer at a time.

import * as api from "./api.js";
import { entry, explanation, notes, sourceInWords } from "./answer.js";
import { byId, make, show } from "./dom.js";
import * as filters from "./filters.js";
import { person } from "./person.js";
import * as similar from "./similar.js";

let running = null; // Ends the question before, so that a slow answer never replaces a later one.
let asked = null; // The question whose answer is shown, for its next page.

const model = () => byId("model").value;
// As it is asked for: where there is only one, the service's default is it.
const named = () => (byId("model").options.length > 1 ? model() : "");
const version = () => byId("version").value;

function problem(error) {
  const box = byId("problem");
  if (error) box.textContent = error.message;
  show(box, Boolean(error));
  if (error) box.scrollIntoView({ block: "nearest" });
}

async function begin() {
  problem(null);
  const wanted = new URLSearchParams(location.search).get("model");
  let about;
  try {
    about = await api.about("");
  } catch (error) {
    problem(error);
    return;
  }
  const select = byId("model");
  select.replaceChildren(...about.models.map((name) => make("option", { value: name }, name)));
  select.disabled = about.models.length < 2;
  select.value = about.models.includes(wanted) ? wanted : about.model;
  await choose();
}

// Another model: its versions, features, users and filters.
async function choose() {
  problem(null);
  let about;
  let stored;
  try {
    [about, stored] = await Promise.all([api.about(named()), api.models(named())]);
  } catch (error) {
    problem(error);
    return;
  }
  const versions = stored.models.filter((one) => one.name === model());
  byId("version").replaceChildren(make("option", { value: "" }, "as users get it"), ...versions.map((one) =>
    make("option", { value: one.version, disabled: !one.serving },
      one.version + (one.active ? ", active" : "") + (one.serving ? "" : ", not loaded"))));
  byId("version").disabled = false;
  filters.setFeatures(about.item_features);
  byId("exclude-seen").disabled = !about.histories; // Nothing says then what was seen.
  byId("known-users").replaceChildren(...about.users.map((id) => make("option", { value: id })));
  byId("some-users").replaceChildren(...about.users.slice(0, 8).map((id) =>
    make("button", { type: "button", class: "chip", onclick: () => {
      byId("user").value = id;
      ask();
    } }, id)));
  api.filters(named()).then((stored) => filters.setNamed(stored.filters ?? []), () => filters.setNamed([]));
  const wanted = new URLSearchParams(location.search).get("user");
  if (wanted && !byId("user").value) byId("user").value = wanted;
  if (byId("user").value) ask();
}

function question() {
  const items = filters.question();
  const id = byId("user").value.trim();
  const k = Number(byId("k").value);
  if (items === null || !id || !Number.isInteger(k) || k < 1 || k > 100) return null;
  return {
    user_id: id,
    k,
    ...(byId("exclude-seen").checked && !byId("exclude-seen").disabled ? { exclude_seen: true } : {}),
    explain: true,
    ...items,
    ...(named() ? { model: named() } : {}),
    ...(version() ? { version: version() } : {}),
  };
}

// `anew`: somebody asked for the answer, and did not just change what it depends on.
async function ask(anew = true) {
  const body = question();
  if (body === null) {
    byId("question").reportValidity();
    return;
  }
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  remember(body.user_id);
  busy(true, "Asking…");
  problem(null);
  const [answer] = await Promise.allSettled([api.recommend(body, signal), person(named(), body.user_id, signal, similar.open)]);
  if (signal.aborted) return;
  if (answer.status === "rejected") {
    busy(false, "There is no answer.");
    byId("items").replaceChildren();
    show(byId("answer-notes"), false);
    show(byId("explanation"), false);
    show(byId("more"), false);
    problem(answer.reason);
    return;
  }
  const told = answer.value;
  asked = body;
  byId("answer-title").textContent = `Recommendations for ${body.user_id}`;
  busy(false, told.items.length ? `${count(told.items.length)}, based on ${sourceInWords(told.source)}.`
    : "No item is left: loosen the filters, or let seen items be answered.");
  byId("items").replaceChildren(...told.items.map((one) => entry(one, similar.open)));
  notes(told);
  explanation(told);
  next(told);
  if (anew && matchMedia("(max-width: 52rem)").matches) byId("answer").scrollIntoView();
}

const count = (number) => (number === 1 ? "1 item" : `${number} items`);

async function more() {
  const button = byId("more");
  button.disabled = true;
  try {
    const told = await api.recommend({ ...asked, cursor: button.cursor }, running.signal);
    const first = byId("items").children.length;
    byId("items").append(...told.items.map((one) => entry({ ...one, rank: first + one.rank }, similar.open)));
    byId("answer-status").textContent = `${count(first + told.items.length)}.`;
    next(told);
    byId("items").children[first]?.querySelector("button")?.focus();
  } catch (error) {
    if (error.name !== "AbortError") problem(error);
  } finally {
    button.disabled = false;
  }
}

function next(told) {
  byId("more").cursor = told.next_cursor;
  show(byId("more"), Boolean(told.next_cursor));
}

function busy(is, text) {
  byId("answer").setAttribute("aria-busy", String(is));
  byId("answer-status").textContent = text;
}

// So that the address names what is shown.
function remember(user) {
  const url = new URL(location.href);
  url.searchParams.set("user", user);
  if (named()) url.searchParams.set("model", named());
  history.replaceState(null, "", url);
}

// Again where somebody is asked for; else there is nothing to show yet.
const again = () => byId("user").value.trim() && ask(false);

filters.onChange(again);
filters.start();
similar.start(() => ({ model: named(), version: version() }));
byId("question").addEventListener("submit", (event) => {
  event.preventDefault();
  ask();
});
byId("more").addEventListener("click", more);
for (const id of ["k", "exclude-seen", "version"]) byId(id).addEventListener("change", again);
byId("model").addEventListener("change", choose);
begin();
