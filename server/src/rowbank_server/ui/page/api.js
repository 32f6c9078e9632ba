// Questions to the process that served this page. The token is kept by this tab alone, and goes into a header only.

const KEY = "rowbank-token";
let token = sessionStorage.getItem(KEY) ?? "";

export class Refused extends Error {
  constructor(status, text) {
    super(text);
    this.status = status;
  }
}

export const hasToken = () => token !== "";

export function useToken(given) {
  token = given.trim();
  if (token) sessionStorage.setItem(KEY, token);
  else sessionStorage.removeItem(KEY);
}

export async function ask(what, parameters = {}) {
  const query = new URLSearchParams(parameters).toString();
  const answer = await fetch(`ui/data/${what}${query ? `?${query}` : ""}`, {
    headers: token ? { authorization: `Bearer ${token}` } : {},
    cache: "no-store",
    signal: AbortSignal.timeout(10_000),
  });
  const body = await answer.json();
  if (!answer.ok) throw new Refused(answer.status, body.detail ?? answer.statusText);
  return body;
}
