import { describe, expect, it } from "vitest";
import cases from "../../../apps/ui/tests/log_cases.json";
import { expand, type LogEvent } from "./expand";
import { Lines } from "./lines";
import { LINE, MAX_HEIGHT, scrollTo, windowOf } from "./virtual";

const event = (level: string, text: string, more: LogEvent = {}): LogEvent => ({ t: "2026-11-18T14:10:51.118000Z", level, event: text, ...more });
const CASES = cases as { name: string; event: LogEvent; lines: unknown }[];
const shown = (lines: Lines): string[] => lines.shown.map((k) => lines.all[k]!.text);
const failure = CASES.at(-1)!.event;

describe("records", () => {
  it.each(CASES)("$name", (example) => expect(expand(example.event)).toEqual(example.lines));

  it("survive odd details", () => {
    for (const error_detail of [[], [1, null], {}, 5, [{}], [{ text: null, exc_notes: null }]]) expect(expand({ event: "x", error_detail })[0]).toEqual(["x", ""]);
  });
});

describe("log lines", () => {
  it("number records, not the lines below them, and know their levels", () => {
    const lines = new Lines();
    lines.add([event("info", "one"), event("ERROR", "two\nthree"), event("critical", "four"), event("odd", "five")]);
    expect(lines.all.map((l) => [l.n, l.level, l.kind])).toEqual([[1, "info", ""], [2, "error", ""], [2, "error", "+"], [3, "error", ""], [4, "info", ""]]);
    expect([lines.counts.info, lines.counts.error, lines.records]).toEqual([2, 2, 4]);
  });

  it("hides levels without forgetting lines, also those that come later", () => {
    const lines = new Lines();
    lines.add([event("debug", "a"), event("info", "b")]);
    lines.filter(new Set(["debug"]));
    lines.add([event("debug", "c"), event("error", "d")]);
    expect(shown(lines)).toEqual(["b", "d"]);
    lines.filter(new Set());
    expect(lines.shown.length).toBe(4);
  });

  it("shows an exception in short; its whole traceback is a fold that search and links open", () => {
    const lines = new Lines();
    lines.add([event("info", "before"), { ...failure, level: "error" }, event("info", "after")]);
    expect(shown(lines)).toContain("RuntimeError: no orders");
    expect(shown(lines).some((t) => t.includes("_attempt"))).toBe(false);
    const hits = lines.search("_ATTEMPT");
    expect(hits.length).toBe(1);
    const at = lines.reveal(hits[0]!);
    expect(shown(lines)[at]).toContain("_attempt");
    lines.toggle(0);
    expect(shown(lines).at(-1)).toBe("after");
    expect(shown(lines).some((t) => t.includes("_attempt"))).toBe(false);
  });

  it("folds groups that ended well, keeps those with errors and the unfinished open", () => {
    const lines = new Lines();
    const add = (...texts: string[]): void => lines.add(texts.map((t) => event(t === "bad" ? "error" : "info", t)));
    add("::group::one", "a", "::endgroup::", "::group::two", "bad", "::endgroup::", "::group::outer", "::group::inner", "b", "::endgroup::", "c");
    expect(shown(lines)).toEqual(["one", "two", "bad", "outer", "inner", "c"]);
    add("::endgroup::", "::endgroup::", "d");
    expect(shown(lines)).toEqual(["one", "two", "bad", "outer", "d"]);
    lines.reveal(lines.search("b").at(-1)!);
    expect(shown(lines)).toEqual(["one", "two", "bad", "outer", "inner", "b", "c", "d"]);
  });

  it("finds text under its colours, whatever its case", () => {
    const lines = new Lines();
    lines.add([event("info", "con\x1b[1mNECT\x1b[0mion"), event("info", "nothing")]);
    expect(lines.search("Connection")).toEqual([0]);
    expect(lines.search("")).toEqual([]);
  });

  it("walks from one block of errors to the next and around, and stops at each exception", () => {
    const lines = new Lines();
    lines.add(["info", "error", "error", "info", "error"].map((l) => event(l, l)));
    expect([lines.nextError(-1), lines.nextError(1), lines.nextError(4)]).toEqual([1, 4, 1]);
    lines.add([{ ...failure, level: "error" }]);
    expect(lines.nextError(4)).toBe(5);
    const calm = new Lines();
    calm.add([event("info", "x")]);
    expect(calm.nextError(-1)).toBe(-1);
  });

  it("goes to the line of a link or the next that shows", () => {
    const lines = new Lines();
    lines.add(["info", "debug", "info"].map((l) => event(l, l)));
    lines.filter(new Set(["debug"]));
    expect([lines.position(1), lines.position(2), lines.position(3)]).toEqual([0, 1, 1]);
  });
});
describe("the window on the lines", () => {
  it("holds what is in view and a margin", () => {
    expect(windowOf(1000, LINE * 100, LINE * 30, 10)).toEqual({ from: 90, to: 140, offset: 90 * LINE, height: 1000 * LINE });
    expect(windowOf(5, 0, 600)).toMatchObject({ from: 0, to: 5, offset: 0 });
    expect(windowOf(0, 0, 600)).toMatchObject({ from: 0, to: 0 });
  });

  it("reaches every line of a log that is taller than a browser allows", () => {
    const total = 2_000_000;
    const room = LINE * 30;
    expect(windowOf(total, 0, room).from).toBe(0);
    expect(windowOf(total, MAX_HEIGHT - room, room).to).toBe(total);
    for (const at of [0, 5, 777_777, total - 1]) {
      const view = windowOf(total, scrollTo(total, at, room), room);
      expect(view.from <= at && at < view.to).toBe(true);
    }
  });
});
