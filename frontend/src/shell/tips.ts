/* Hints: hover or focus on [data-tip]; Escape closes. Islands show their own through showTip. */
import { $, h } from "../lib/dom";

const tip = h("div", { class: "tip", role: "tooltip", hidden: "" });

export function showTip(lines: (string | Node)[], x: number, y: number): void {
  tip.replaceChildren(...lines.flatMap((line, k) => (k ? [h("br"), line] : [line])));
  tip.hidden = false;
  const { offsetWidth: w, offsetHeight: tall } = tip;
  tip.style.left = `${Math.max(8, Math.min(x, innerWidth - w - 8))}px`;
  tip.style.top = `${y + tall + 8 > innerHeight ? Math.max(8, y - tall - 28) : y}px`;
}

export function hideTip(): void {
  tip.hidden = true;
}

function forElement(e: Event): void {
  const el = (e.target as Element).closest?.<HTMLElement>("[data-tip]");
  if (!el?.dataset.tip) return hideTip();
  const box = el.getBoundingClientRect();
  showTip([el.dataset.tip], box.left, box.bottom + 6);
}

export function hints(): void {
  ($("main") ?? document.body).append(tip); // within a landmark, as all that is read
  document.addEventListener("pointerover", (e) => {
    if (e.pointerType !== "touch" && !(e.target as Element).closest?.("canvas, #g")) forElement(e);
  });
  document.addEventListener("focusin", (e) => (e.target as Element).matches?.(":focus-visible") && forElement(e));
  document.addEventListener("focusout", hideTip);
  document.addEventListener("keydown", (e) => e.key === "Escape" && hideTip());
  addEventListener("showtip", (e) => {
    const { lines, x, y } = (e as CustomEvent<{ lines: (string | Node)[]; x: number; y: number }>).detail;
    showTip(lines, x, y);
  });
  addEventListener("hidetip", hideTip);
}
