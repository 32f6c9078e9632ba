// Shows who is asked for: stored features, and the history by its titles.

import * as api from "./api.js";
import { byId, make, show } from "./dom.js";

const LATEST = 12; // Of a history.

export async function person(model, id, signal, onSimilar) {
  const box = byId("person");
  let held;
  try {
    held = await api.user(model, id, signal);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    byId("person-title").textContent = `User ${id}`;
    byId("person-note").textContent = error.status === 404
      ? "Nothing is stored of this user. The answer falls back to what is popular, unless the model knows the id."
      : error.message;
    byId("person-features").replaceChildren();
    byId("person-history").replaceChildren();
    show(box, true);
    return;
  }
  const { history, ...features } = held.features;
  const listed = (history ?? []).map((one) => (one === null ? null : String(one)));
  byId("person-title").textContent = `User ${held.id}`;
  byId("person-note").textContent = told(held, listed.length);
  byId("person-features").replaceChildren(list(features));
  show(box, true);
  await met(model, listed.slice(-LATEST).reverse(), listed.length, signal, onSimilar);
}

function told(held, count) {
  const written = held.event_time_s ? `, last written ${new Date(held.event_time_s * 1000).toLocaleString()}` : "";
  const old = held.status === "outside_max_age" ? " These are defaults: what is stored is too old." : "";
  return `${count === 1 ? "1 item" : `${count.toLocaleString("en")} items`} in the history${written}.${old}`;
}

export function list(features) {
  const rows = Object.entries(features).map(([name, value]) => [make("dt", {}, name), make("dd", { dir: "auto" }, text(value))]);
  return rows.length ? make("dl", { class: "facts" }, rows) : make("p", { class: "quiet" }, "No other features.");
}

function text(value) {
  if (Array.isArray(value)) {
    const first = value.slice(0, 12).map(text).join(", ");
    return value.length > 12 ? `${first} and ${value.length - 12} more` : first || "–";
  }
  if (typeof value === "boolean") return value ? "yes" : "no";
  return value === null || value === "" ? "–" : String(value);
}

async function met(model, ids, count, signal, onSimilar) {
  const home = byId("person-history");
  if (!ids.length) {
    home.replaceChildren();
    return;
  }
  const asked = ids.filter((id) => id !== null);
  const { titles } = await api.titles(model, asked, signal);
  const entries = ids.map((id) => {
    if (id === null) return make("li", { class: "quiet" }, "an item that nobody wrote");
    const title = titles[id];
    if (title === undefined) return make("li", { class: "quiet" }, `${id}, not in the catalogue`);
    return make("li", {}, make("button", { type: "button", class: "chip", dir: "auto", "aria-label": `Similar to ${title || id}`,
      onclick: () => onSimilar({ id, title }) }, title || id));
  });
  const more = count > ids.length ? `, the latest ${ids.length} of ${count.toLocaleString("en")}` : "";
  home.replaceChildren(make("h3", {}, `History${more}`), make("ul", { class: "chips" }, entries));
}
