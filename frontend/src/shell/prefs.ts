/* Theme, density and zone of this person, kept in cookies because the server draws with them. */
import { $ } from "../lib/dom";
import { cookie, setCookie } from "../lib/time";

const mine = (): string => Intl.DateTimeFormat().resolvedOptions().timeZone || "UTC";

/** Tell the server the browser's zone; pages drawn from now on use it. */
export function zoneAndTheme(): void {
  if (!cookie("tz")) {
    setCookie("tz", mine());
    if (mine() !== "UTC" && !sessionStorage.getItem("zoned")) {
      sessionStorage.setItem("zoned", "1");
      location.reload(); // once per browser: the first page was drawn in UTC
    }
  }
  matchMedia("(prefers-color-scheme: dark)").addEventListener("change", () => dispatchEvent(new Event("themechange")));
  const clock = $("[data-clock]");
  const tick = (): void => {
    if (clock) clock.textContent = new Date().toLocaleTimeString("en-GB", { timeZone: cookie("tz") || "UTC" });
  };
  tick();
  setInterval(tick, 1000);
}

export function flipTheme(): void {
  const dark = (getComputedStyle(document.body).backgroundColor.match(/[\d.]+/g) ?? ["255"]).slice(0, 3).every((v) => +v < 100);
  const next = dark ? "light" : "dark";
  document.documentElement.dataset.theme = next;
  setCookie("theme", next);
  dispatchEvent(new Event("themechange"));
}

/** Comfortable rows, or compact ones. The button says which; other pages of this browser follow when they are loaded. */
export function flipDensity(button: HTMLElement): void {
  const roomy = document.documentElement.dataset.density !== "comfortable";
  if (roomy) document.documentElement.dataset.density = "comfortable";
  else delete document.documentElement.dataset.density;
  button.setAttribute("aria-pressed", String(roomy));
  setCookie("density", roomy ? "comfortable" : "compact");
}

/** Mine, then UTC, then mine again. The server draws times, so the page is asked for again. */
export function flipZone(): void {
  setCookie("tz", cookie("tz") === "UTC" ? mine() : "UTC");
  location.reload();
}
