// Asks the service that this page comes from. All ids are strings here: JavaScript rounds integers beyond 2**53.

export class Problem extends Error {
  constructor(detail, status, kind) {
    super(detail);
    this.status = status;
    this.kind = kind;
  }
}

async function ask(path, parameters, body, signal) {
  const url = new URL(path, document.baseURI);
  for (const [name, value] of Object.entries(parameters)) {
    for (const one of Array.isArray(value) ? value : [value]) if (one !== "") url.searchParams.append(name, one);
  }
  const options = body === undefined ? { signal } : {
    method: "POST",
    headers: { "content-type": "application/json" },
    body: typeof body === "string" ? body : JSON.stringify(body),
    signal,
  };
  let answer;
  try {
    answer = await fetch(url, options);
  } catch (error) {
    if (error.name === "AbortError") throw error;
    throw new Problem("The service does not answer. Is it still running?", 0, "away");
  }
  const text = await answer.text();
  let content = null;
  try {
    content = JSON.parse(text);
  } catch {
    content = null;
  }
  if (!answer.ok) {
    const kind = String(content?.type ?? "").replace("urn:rowbank:problem:", "");
    throw new Problem(content?.detail ?? `The service answered ${answer.status}.`, answer.status, kind);
  }
  if (content === null) throw new Problem("The service answered something that is no JSON.", answer.status, "no-json");
  return content;
}

const IDS = { ids: "string" };

// Without a model, the service's default one is meant.
const named = (model) => (model ? { model } : {});

export const about = (model, signal) => ask("demo/data", named(model), undefined, signal);
export const models = (model, signal) => ask("v1/models", named(model), undefined, signal);
export const filters = (model, signal) => ask("v1/filters", named(model), undefined, signal);
export const titles = (model, items, signal) => ask("demo/titles", { ...named(model), item: items }, undefined, signal);
export const user = (model, id, signal) =>
  ask(`v1/users/${encodeURIComponent(id)}`, { ...IDS, ...named(model) }, undefined, signal);
export const item = (model, id, signal) =>
  ask(`v1/items/${encodeURIComponent(id)}`, { ...IDS, ...named(model) }, undefined, signal);
export const recommend = (question, signal) => ask("v1/recommend", IDS, question, signal);
export const similar = (question, signal) => ask("v1/similar", IDS, question, signal);
