/* Whether the page is live, and times that stay true while it is open. */
import { $, $$ } from "../lib/dom";
import { duration, relative, rough } from "../lib/time";
import { language, tr } from "../lib/text";

const WORDS: Record<string, string> = { live: tr("Live"), reconnecting: tr("Reconnecting"), stale: tr("Stale"), out: tr("Signed out") };
const KIND: Record<string, string> = { live: "connected", reconnecting: "reconnecting", stale: "stale", out: "stale" };
const HINT: Record<string, string> = {
  live: tr("Live. Changes appear by themselves."),
  reconnecting: tr("The connection was lost; trying again. The page catches up by itself."),
  stale: tr("No connection to the server. What you see is from when it was lost; the page catches up by itself."),
  out: tr("You are signed out, or may no longer see this. Load the page again to sign in."),
};

export interface Health { health: string; since: number }

export function showHealth({ health, since }: Health): void {
  const box = $(".live");
  if (!box) return;
  box.hidden = false;
  box.dataset.live = KIND[health] ?? "stale";
  box.dataset.tip = HINT[health] ?? "";
  const text = $("[data-live-text]", box);
  if (text) text.textContent = since > 2000 ? tr("{state}, {time} behind", { state: WORDS[health] ?? health, time: rough(since / 1000) }) : (WORDS[health] ?? health);
}

/** What the navigation counts; whatever stands for none of a thing hides when there is one, and the other way round. */
export function showNumbers(numbers: Record<string, number>): void {
  for (const el of $$("[data-count]")) {
    const n = numbers[el.dataset.count ?? ""];
    if (n === undefined) continue;
    if (el.dataset.when) el.hidden = (el.dataset.when === "none") !== (n === 0);
    if (el.dataset.when !== "none" && el.matches(".n")) put(el, n.toLocaleString(language()));
  }
}

/** Relative times and running durations, once a second; only texts that differ are written. */
export function tickTimes(): void {
  const tick = (): void => {
    if (document.hidden) return;
    for (const el of $$<HTMLTimeElement>("time[data-rel]")) put(el, relative(Date.parse(el.dateTime)));
    for (const el of $$("[data-since]")) put(el, duration((Date.now() - Date.parse(el.dataset.since ?? "")) / 1000));
  };
  setInterval(tick, 1000);
}

function put(el: HTMLElement, text: string): void {
  if (el.textContent !== text) el.textContent = text;
}
