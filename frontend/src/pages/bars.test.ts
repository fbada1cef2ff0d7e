import { expect, it } from "vitest";
import { fragment } from "../lib/dom";
import { bars, refocus, told } from "./bars";

const row = (...pks: number[]): string =>
  `<table><tr data-dag="d"><td><span class="bars"><svg>${pks.map((pk) => `<a href="/r/${pk}" data-r="1763478000 65" tabindex="-1"><rect></rect><rect data-s="failed"></rect></a>`).join("")}</svg></span></td></tr></table>`;
const links = (): HTMLElement[] => [...document.querySelectorAll<HTMLElement>(".bars a")];
const press = (key: string): boolean => document.activeElement!.dispatchEvent(new KeyboardEvent("keydown", { key, bubbles: true, cancelable: true }));

it("says state, moment and duration, and leaves out what is not known yet", () => {
  expect(told("failed", "1763478000 65")).toBe("Failed, run of Tue 18 Nov 15:00, 1 min 05 s");
  expect(told("queued", "1763478000")).toBe("Queued, run of Tue 18 Nov 15:00");
});

it("has one tab stop per row, arrows move it, and the focus stays on its run when the row is drawn anew", () => {
  document.body.replaceChildren(fragment(row(1, 2, 3)));
  bars();
  links()[2]!.focus();
  press("ArrowLeft");
  press("ArrowLeft");
  press("ArrowLeft");
  expect(links().map((a) => a.getAttribute("tabindex"))).toEqual(["0", "-1", "-1"]);
  expect(document.activeElement!.getAttribute("aria-label")).toContain("Failed, run of");
  press("ArrowRight");
  const back = refocus(document.querySelector("tr")!)!;
  document.body.replaceChildren(fragment(row(2, 3, 4)));
  back(document.querySelector("tr")!);
  expect(document.activeElement!.getAttribute("href")).toBe("/r/2");
  expect(refocus(document.createElement("tr"))).toBeNull();
});
