// Numbers, sizes and times, as people read them.

const SIZES = ["B", "KiB", "MiB", "GiB", "TiB"];
const exact = new Intl.NumberFormat("en");
const short = new Intl.NumberFormat("en", { notation: "compact", maximumFractionDigits: 1 });

const isNumber = (value) => typeof value === "number" && Number.isFinite(value);

export const count = (value) => (isNumber(value) ? exact.format(Math.round(value)) : "–");

export function number(value) {
  if (!isNumber(value)) return "–";
  if (Math.abs(value) >= 10_000) return short.format(value);
  return String(Number(value.toPrecision(3)));
}

export const rate = (value) => (isNumber(value) ? `${number(value)}/s` : "–");

export function bytes(value) {
  if (!isNumber(value)) return "–";
  let size = value, unit = 0;
  while (Math.abs(size) >= 1024 && unit < SIZES.length - 1) {
    size /= 1024;
    unit += 1;
  }
  return `${unit === 0 ? Math.round(size) : size.toFixed(size >= 100 ? 0 : 1)} ${SIZES[unit]}`;
}

export function seconds(value) {
  if (value === Infinity) return "unknown";
  if (!isNumber(value)) return "–";
  if (value === 0) return "0 s";
  if (value < 0.001) return `${(value * 1e6).toPrecision(3)} µs`;
  if (value < 1) return `${Number((value * 1e3).toPrecision(3))} ms`;
  if (value < 120) return `${Number(value.toPrecision(3))} s`;
  if (value < 7200) return `${Math.round(value / 60)} min`;
  if (value < 172_800) return `${Math.round(value / 3600)} h`;
  return `${Math.round(value / 86_400)} days`;
}

export const share = (value) => (isNumber(value) ? `${number(value * 100)} %` : "–");

const clock = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" });
const clockOfMinutes = new Intl.DateTimeFormat(undefined, { hour: "2-digit", minute: "2-digit", hourCycle: "h23" });
const whole = new Intl.DateTimeFormat(undefined, { dateStyle: "medium", timeStyle: "medium", hourCycle: "h23" });

export const minute = (at_s) => clockOfMinutes.format(new Date(at_s * 1000));
export const time = (at_s) => clock.format(new Date(at_s * 1000));
export const moment = (at_s) => (at_s > 0 ? whole.format(new Date(at_s * 1000)) : "never");
