import { describe, expect, it } from "vitest";
import { Lines } from "./lines";
import { LINE, MAX_HEIGHT, scrollTo, windowOf } from "./virtual";

const event = (level: string, text: string): Record<string, unknown> => ({ t: "2026-11-18T14:10:51.118000Z", level, event: text });

describe("log lines", () => {
  it("numbers lines, splits events of several lines and knows their levels", () => {
    const lines = new Lines();
    expect(lines.add([event("info", "one"), event("ERROR", "two\nthree"), event("critical", "four"), event("odd", "five")])).toBe(5);
    expect(lines.all.map((l) => [l.n, l.level, l.first])).toEqual([[1, "info", true], [2, "error", true], [3, "error", false], [4, "error", true], [5, "info", true]]);
    expect(lines.counts).toMatchObject({ info: 2, error: 2 });
  });

  it("hides levels without forgetting lines, also those that come later", () => {
    const lines = new Lines();
    lines.add([event("debug", "a"), event("info", "b")]);
    lines.filter(new Set(["debug"]));
    lines.add([event("debug", "c"), event("error", "d")]);
    expect(lines.shown.map((k) => lines.all[k]!.text)).toEqual(["b", "d"]);
    lines.filter(new Set());
    expect(lines.shown.length).toBe(4);
  });

  it("finds text under its colours, whatever its case", () => {
    const lines = new Lines();
    lines.add([event("info", "con\x1b[1mNECT\x1b[0mion"), event("info", "nothing")]);
    expect(lines.search("Connection")).toEqual([0]);
    expect(lines.search("")).toEqual([]);
  });

  it("walks from one block of errors to the next and around", () => {
    const lines = new Lines();
    lines.add(["info", "error", "error", "info", "error"].map((l) => event(l, l)));
    expect([lines.nextError(-1), lines.nextError(1), lines.nextError(4)]).toEqual([1, 4, 1]);
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
