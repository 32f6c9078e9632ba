// A window with the items near one: opened by click, and again from there.

import * as api from "./api.js";
import { entry } from "./answer.js";
import { byId, make, show } from "./dom.js";
import { list } from "./person.js";

let asked = []; // The items of which the window showed the neighbours, the present one last.
let running = null;
let settings = () => ({});

export function start(getSettings) {
  settings = getSettings;
  byId("similar-close").addEventListener("click", () => byId("similar").close());
  byId("similar-back").addEventListener("click", () => {
    asked.pop();
    load();
  });
  byId("similar").addEventListener("close", () => {
    running?.abort();
    asked = [];
  });
  byId("similar").addEventListener("click", (event) => {
    if (event.target === byId("similar")) byId("similar").close(); // Beside the window.
  });
}

export function open(item) {
  asked.push(item);
  if (!byId("similar").open) byId("similar").showModal();
  load();
}

async function load() {
  const item = asked.at(-1);
  running?.abort();
  running = new AbortController();
  const { signal } = running;
  const { model, version } = settings();
  byId("similar-title").textContent = `Similar to ${item.title || item.id}`;
  byId("similar-title").focus();
  show(byId("similar-back"), asked.length > 1);
  byId("similar-status").textContent = "Looking…";
  byId("similar-items").setAttribute("aria-busy", "true");
  try {
    const question = { item_ids: [String(item.id)], k: 10, ...(model ? { model } : {}), ...(version ? { version } : {}) };
    const [answer, stored] = await Promise.all([
      api.similar(question, signal),
      api.item(model, String(item.id), signal).catch((error) => (error.name === "AbortError" ? Promise.reject(error) : null)),
    ]);
    const { title, ...features } = stored?.features ?? {};
    byId("similar-item").replaceChildren(stored ? list(features) : make("p", { class: "quiet" }, "Its features cannot be read."));
    byId("similar-items").replaceChildren(...answer.items.map((one) => entry(one, open)));
    byId("similar-status").textContent = answer.items.length ? "" : "Nothing is near this item.";
  } catch (error) {
    if (error.name === "AbortError") return;
    byId("similar-item").replaceChildren();
    byId("similar-items").replaceChildren();
    byId("similar-status").textContent = error.message;
  } finally {
    if (!signal.aborted) byId("similar-items").removeAttribute("aria-busy");
  }
}
