/* Sentences about what was done, at the bottom left, for ten seconds; with an undo for as long as the server keeps it. */
import { $, $$, glyph, h, icon } from "../lib/dom";
import { tr } from "../lib/text";

const UNDO_MS = 10 * 60_000;
const KEPT = 3;

export function toast(text: string, state = "success", undo = "", onUndone?: () => void): void {
  const close = h("button", { type: "button", class: "ibtn sm", "aria-label": tr("Dismiss") }, icon("i-x", "i s"));
  const el = h("div", { class: "toast", "data-s": state }, glyph(state), h("span", { class: "grow" }, text));
  if (undo) {
    const button = h("button", { type: "button", class: "btn sm" }, tr("Undo"));
    button.onclick = () => void takeBack(undo, el, button, onUndone);
    el.append(button);
  }
  el.append(close);
  close.onclick = () => el.remove();
  const all = $("#toasts");
  all?.append(el);
  if (all) $$(".toast", all).slice(0, -KEPT).forEach((old) => old.remove());
  setTimeout(() => el.remove(), undo ? UNDO_MS : 10_000);
}

async function takeBack(url: string, el: HTMLElement, button: HTMLButtonElement, onUndone?: () => void): Promise<void> {
  button.disabled = true;
  const headers = { "HX-Request": "true", "X-CSRFToken": document.body.dataset.csrf ?? "" };
  const response = await fetch(url, { method: "POST", headers, credentials: "same-origin" }).catch(() => null);
  const said = response?.headers.get("content-type")?.includes("json") ? ((await response.json()) as { toast?: string; detail?: string }) : null;
  if (!response) {
    button.disabled = false;
    return toast(tr("The server did not answer. Nothing was undone; try again."), "failed");
  }
  el.remove();
  toast(said?.toast ?? said?.detail ?? tr("The server could not undo this."), response.ok ? "success" : "failed");
  if (response.ok) onUndone?.();
  if (response.ok) dispatchEvent(new CustomEvent("acted", { detail: { undone: true } }));
}
