/* What every page has: theme, navigation, keys, hints, dialogs, toasts, ticking times, the live indicator. */
import { $, $$ } from "../lib/dom";
import { enhance } from "./forms";
import { keys } from "./keys";
import { openPalette } from "./palette";
import { type Health, showHealth, showNumbers, tickTimes } from "./status";
import { hints } from "./tips";
import { zoneAndTheme, flipDensity, flipTheme, flipZone } from "./prefs";

const ACT: Record<string, (el: HTMLElement, e: Event) => void> = {
  theme: flipTheme,
  density: flipDensity,
  zone: flipZone,
  palette: () => openPalette(),
  switch: (el, e) => {
    e.preventDefault();
    openPalette(el.dataset.from);
  },
  copy: (el) => void copy(el),
  nav: (el) => el.setAttribute("aria-expanded", String(document.body.classList.toggle("navopen"))),
  close: (el, e) => {
    const dialog = el.closest("dialog");
    if (dialog) {
      e.preventDefault();
      dialog.close();
    }
  },
};

/** What stands beside the button, to the clipboard; where a page has no right to it (plain HTTP), it is selected instead. */
async function copy(el: HTMLElement): Promise<void> {
  const text = el.closest("figure")?.querySelector("pre");
  if (!text) return;
  try {
    await navigator.clipboard.writeText(text.textContent ?? "");
    el.textContent = el.dataset.done ?? "";
  } catch {
    getSelection()?.selectAllChildren(text);
  }
}

document.addEventListener("click", (e) => {
  const target = e.target as HTMLElement;
  const el = target.closest<HTMLElement>("[data-act]");
  if (el) ACT[el.dataset.act ?? ""]?.(el, e);
  else if (document.body.classList.contains("navopen") && !target.closest(".side")) {
    document.body.classList.remove("navopen");
    $("[data-act=nav]")?.setAttribute("aria-expanded", "false");
  }
});

zoneAndTheme();
hints();
enhance();
keys();
tickTimes();
addEventListener("livenumbers", (e) => showNumbers((e as CustomEvent<Record<string, number>>).detail));
addEventListener("livehealth", (e) => showHealth((e as CustomEvent<Health>).detail));
const known = (window as unknown as { tracksideHealth?: Health }).tracksideHealth;
if (known) showHealth(known);
$$("select[data-submit]").forEach((select) => select.addEventListener("change", () => (select as HTMLSelectElement).form?.requestSubmit()));
