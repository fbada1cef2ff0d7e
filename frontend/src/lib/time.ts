/* Times in words, as apps/ui/words.py says them. */
import { language, tr } from "./text";
export function duration(seconds: number): string {
  const v = Math.max(0, seconds);
  if (v < 9.95) return `${v.toLocaleString(language(), { minimumFractionDigits: 1, maximumFractionDigits: 1 })} s`;
  const n = Math.round(v);
  const two = (x: number): string => String(x).padStart(2, "0");
  if (n < 60) return `${n} s`;
  if (n < 3600) return n % 60 ? `${Math.floor(n / 60)} min ${two(n % 60)} s` : `${n / 60} min`;
  if (n < 86400) return n % 3600 >= 60 ? `${Math.floor(n / 3600)} h ${two(Math.floor((n % 3600) / 60))} min` : `${Math.floor(n / 3600)} h`;
  return `${Math.floor(n / 86400)} d ${Math.floor((n % 86400) / 3600)} h`;
}

export function rough(seconds: number): string {
  const v = Math.abs(seconds);
  if (v < 90) return `${Math.round(v)} s`;
  if (v < 5400) return `${Math.round(v / 60)} min`;
  if (v < 129600) return `${Math.round(v / 3600)} h`;
  return `${Math.round(v / 86400)} d`;
}

export function relative(ms: number, now = Date.now()): string {
  const distance = (ms - now) / 1000;
  if (Math.abs(distance) < 1) return tr("now");
  return distance > 0 ? tr("in {time}", { time: rough(distance) }) : tr("{time} ago", { time: rough(distance) });
}

export const zone = (): string => cookie("tz") || "UTC";

export function cookie(name: string): string {
  return decodeURIComponent(document.cookie.split("; ").find((c) => c.startsWith(`${name}=`))?.slice(name.length + 1) ?? "");
}

export function setCookie(name: string, value: string): void {
  document.cookie = `${name}=${encodeURIComponent(value)}; path=/; max-age=31536000; samesite=lax`;
}

const formats = new Map<string, Intl.DateTimeFormat>();

function parts(ms: number): Record<string, string> {
  const tz = zone();
  let format = formats.get(tz);
  if (!format) formats.set(tz, (format = new Intl.DateTimeFormat("en-GB", { timeZone: tz, weekday: "short", day: "numeric", month: "short", year: "numeric", hour: "2-digit", minute: "2-digit", second: "2-digit", hourCycle: "h23" })));
  const found = Object.fromEntries(format.formatToParts(ms).map((p) => [p.type, p.value]));
  return language() === "en" ? found : { ...found, ...named(ms, tz) };
}

/** Names of day and month in the page's language, as short as the server writes them. */
function named(ms: number, timeZone: string): Record<string, string> {
  const one = (what: Intl.DateTimeFormatOptions): string => new Intl.DateTimeFormat(language(), { timeZone, ...what }).format(ms).replace(".", "");
  return { weekday: one({ weekday: "short" }), month: one({ month: "short" }) };
}

export interface Clock { weekday: string; day: string; month: string; hour: string; minute: string; second: string }

export const clock = (ms: number): Clock => parts(ms) as unknown as Clock;

/** `15:10:51.118` of an ISO moment, in the reader's zone. */
export function logTime(iso: string): string {
  const ms = Date.parse(iso);
  if (Number.isNaN(ms)) return "";
  const p = clock(ms);
  return `${p.hour}:${p.minute}:${p.second}.${String(ms % 1000).padStart(3, "0")}`;
}

/** `Wed 18 Nov 15:00` in the reader's zone. */
export function moment(ms: number): string {
  const p = clock(ms);
  return `${p.weekday} ${p.day} ${p.month} ${p.hour}:${p.minute}${p.second === "00" ? "" : `:${p.second}`}`;
}
