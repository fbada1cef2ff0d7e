/* Sentences about what was done, at the bottom left, for ten seconds. */
import { $, glyph, h, icon } from "../lib/dom";

export function toast(text: string, state = "success", ms = 10_000): void {
  const close = h("button", { type: "button", class: "ibtn sm", "aria-label": "Dismiss" }, icon("i-x", "i s"));
  const el = h("div", { class: "toast", "data-s": state }, glyph(state), h("span", { class: "grow" }, text), close);
  close.onclick = () => el.remove();
  $("#toasts")?.append(el);
  setTimeout(() => el.remove(), ms);
}
