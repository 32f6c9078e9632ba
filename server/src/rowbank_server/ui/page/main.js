// Which view is shown, when it is asked for anew, and what is said when nobody answers.

import { hasToken, Refused, useToken } from "./api.js";
import { repaintBars } from "./bars.js";
import { library, repaint } from "./charts.js";
import { byId, element, setText } from "./dom.js";
import { seconds, time } from "./format.js";
import { Overview } from "./overview.js";
import { TableView } from "./table.js";

const PACE_MS = 2000;
const state = { view: null, paused: false, lostSince: null, process: "", timer: 0, turn: 0 };

function open() {
  const [, kind, name] = location.hash.split("/");
  state.view?.close();
  let wanted = null;
  try {
    wanted = kind === "table" && name ? new TableView(decodeURIComponent(name)) : new Overview();
  } catch {
    wanted = new Overview();  // A name that is no text.
  }
  state.view = wanted;
  document.title = `Rowbank: ${wanted.title}`;
  byId("main").replaceChildren(wanted.node);
  tick();
}

// One question at a time; an answer to a view that is no longer shown is dropped.
async function tick() {
  clearTimeout(state.timer);
  const turn = ++state.turn;
  const { view } = state;
  try {
    const said = await view.update(byId("span").value);
    if (turn !== state.turn) return;
    const drawn = await library(said.charts);
    if (turn !== state.turn) return;
    if (state.process !== said.process.id && state.process) view.past.clear();
    state.process = said.process.id;
    state.lostSince = null;
    view.show(said, drawn);
    introduce(said.process);
    warn(said, drawn);
    live(true);
  } catch (error) {
    if (turn !== state.turn) return;
    fail(error);
  }
  if (!state.paused && !document.hidden && !byId("token-dialog").open) state.timer = setTimeout(tick, PACE_MS);
}

function introduce(process) {
  const worker = process.workers > 1 ? `, worker ${process.worker} of ${process.workers}` : "";
  const what = process.kind === "api" ? `Retrieval service at ${location.host}${worker}` : `Shard ${process.shard}, ${process.role}, at ${process.address}`;
  setText(byId("who"), `${what}; namespace ${process.namespace}, version ${process.version}`);
  byId("forget").hidden = !hasToken();
}

function warn(said, drawn) {
  const { process } = said;
  const texts = [];
  if (process.not_ready) texts.push(`This process does not answer clients now: ${process.not_ready}.`);
  if (process.redis_connected === false) texts.push("Redis cannot be reached: reads go on, changes wait.");
  for (const one of said.problems) {
    const age = one.age_s === null ? "nothing is known of it" : `shown as it was ${seconds(one.age_s)} ago`;
    texts.push(`${one.what}: ${one.problem} (${age})`);
  }
  for (const shard of said.shards ?? []) if (shard.problem) texts.push(`Shard ${shard.shard} does not answer: ${shard.problem}`);
  if (state.view.past.left_out) texts.push(`${state.view.past.left_out} series are not kept: there are more than this page remembers.`);
  if (!drawn) texts.push('There are tables instead of charts: these need the package uplot-python, as in pip install "rowbank-server[ui]".');
  tell(texts);
}

function tell(texts) {
  const shown = byId("alerts");
  if (JSON.stringify(texts) === shown.dataset.told) return;
  shown.dataset.told = JSON.stringify(texts);
  shown.replaceChildren(...texts.map((text) => element("p", { class: "notice", role: "alert" }, text)));
}

function fail(error) {
  if (error instanceof Refused && error.status === 401) {
    askForToken(hasToken() ? `That token was refused: ${error.message}` : error.message);
    live(false, "A token is asked for");
  } else if (error instanceof Refused && error.status < 500) {
    tell([error.message]);
    live(true);
  } else {
    state.lostSince ??= Date.now() / 1000;
    const why = error instanceof Refused ? error.message : "it cannot be reached";
    live(false, `No answer since ${time(state.lostSince)}: ${why}`);
  }
}

function live(isWell, text = "") {
  const pausedText = state.paused ? "Paused" : "Live";
  byId("dot").className = `dot ${isWell ? (state.paused ? "paused" : "well") : "lost"}`;
  setText(byId("live"), isWell ? pausedText : text);
}

function askForToken(why) {
  const dialog = byId("token-dialog");
  setText(byId("token-why"), why);
  if (!dialog.open) dialog.showModal();
}

byId("token-form").addEventListener("submit", () => {
  useToken(byId("token").value);
  byId("token").value = "";
});
byId("token-dialog").addEventListener("close", () => tick());
byId("forget").addEventListener("click", () => {
  useToken("");
  tick();
});
byId("pause").addEventListener("click", () => {
  state.paused = !state.paused;
  byId("pause").setAttribute("aria-pressed", String(state.paused));
  if (state.paused) {
    clearTimeout(state.timer);
    live(state.lostSince === null, byId("live").textContent);
  } else tick();
});
byId("span").addEventListener("change", () => tick());
document.addEventListener("visibilitychange", () => {
  if (!document.hidden && !state.paused) tick();
});
addEventListener("hashchange", () => {
  if (location.hash === "#main") return;
  open();
  byId("main").focus({ preventScroll: true });
  scrollTo(0, 0);
});

// Light or dark: as the system has it, until somebody chooses.
const dark = matchMedia("(prefers-color-scheme: dark)");
function theme(chosen) {
  if (chosen) localStorage.setItem("rowbank-theme", chosen);
  const kept = localStorage.getItem("rowbank-theme");
  const now = kept ?? (dark.matches ? "dark" : "light");
  document.documentElement.dataset.theme = now;
  setText(byId("theme"), now === "dark" ? "Light" : "Dark");
  byId("theme").setAttribute("aria-label", `Switch to ${now === "dark" ? "light" : "dark"} colours`);
  repaint();
  repaintBars();
}
byId("theme").addEventListener("click", () => theme(document.documentElement.dataset.theme === "dark" ? "light" : "dark"));
dark.addEventListener("change", () => theme());
theme();
open();
