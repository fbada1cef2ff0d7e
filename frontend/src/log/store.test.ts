import { describe, expect, it } from "vitest";
import cases from "../../../apps/ui/tests/log_cases.json";
import { expand, type LogEvent } from "./expand";
import { record } from "./records";
import { pattern, rowsOf, type Look } from "./rows";
import { filters } from "./source";
import { BLOCK, KEEP, Store, type About, type GroupInfo, type Window } from "./store";
import { LINE, MAX_HEIGHT, scrollTo, topOf, topRow, windowOf } from "./virtual";

const CASES = cases as { name: string; event: LogEvent; lines: unknown }[];
const failure = CASES.at(-1)!.event;
const event = (text: string, level = "info", more: LogEvent = {}): LogEvent => ({ t: "2026-11-18T14:10:51.118000Z", level, event: text, ...more });
const about = (records: number, groups: GroupInfo[] = [], shown = records): About => ({ records, size: 0, complete: false, shown, levels: {}, sources: {}, groups, first_error: null });
const windowAt = (at: number, count: number, make = (rank: number): LogEvent => event(`record ${rank + 1}`)): Window => ({
  at, numbers: Array.from({ length: count }, (_, k) => at + k + 1), lines: Array.from({ length: count }, (_, k) => make(at + k)), shown: 0, records: 0, complete: false,
});
const put = (store: Store, ...texts: string[]): void => store.append(texts.map((t) => event(t, t === "bad" ? "error" : "info")), 0, false);
const shown = (store: Store): string[] => Array.from({ length: store.places }, (_, k) => store.at(store.rank(k))?.parts[0]![0] ?? "?");

describe("records", () => {
  it.each(CASES)("$name", (example) => expect(expand(example.event)).toEqual(example.lines));

  it("survive odd details and know level and source", () => {
    for (const error_detail of [[], [1, null], {}, 5, [{}], [{ text: null, exc_notes: null }]]) expect(expand({ event: "x", error_detail })[0]).toEqual(["x", ""]);
    expect(["ERROR", "critical", "warn", "odd"].map((l) => record(event("x", l), 1).level)).toEqual(["error", "error", "warning", "info"]);
    expect([record(event("x", "info", { src: "stderr" }), 1).source, record(event("x"), 1).source]).toEqual(["stderr", "log"]);
  });
});

describe("what is kept of a long log", () => {
  it("is a few blocks around the view, whatever is visited", () => {
    const store = new Store();
    store.reset(about(1_000_000));
    for (let at = 0; at < 1_000_000; at += 20_000) {
      expect(store.missing(at, at + 1)).toEqual([at]);
      store.put(windowAt(at, BLOCK));
      store.evict(at);
      expect(store.at(at + 7)?.n).toBe(at + 8);
    }
    expect(store.kept).toBe(KEEP * BLOCK);
    expect(store.at(0)).toBeUndefined();
    expect([store.rows, store.places]).toEqual([1_000_000, 1_000_000]);
  });

  it("is bounded while the end is followed, and the end is whole", () => {
    const store = new Store();
    store.reset(about(BLOCK * 3 + 17));
    for (let k = 0; k < 500; k++) {
      store.append(Array.from({ length: 100 }, (_, j) => event(`${k}:${j}`)), k, false);
      store.evict(store.shown);
    }
    expect(store.records).toBe(BLOCK * 3 + 17 + 50_000);
    expect(store.kept).toBeLessThanOrEqual(KEEP * BLOCK);
    expect(store.at(store.shown - 1)?.parts[0]).toEqual(["499:99", ""]);
    expect(store.missing(store.places - 1000, store.places)).toEqual([]);
  });

  it("asks for the part of a block that the tail did not bring", () => {
    const store = new Store();
    store.reset(about(BLOCK + 50));
    expect(store.missing(0, BLOCK + 50)).toEqual([0, BLOCK]);
    store.put(windowAt(BLOCK, 50));
    put(store, "new");
    expect(store.missing(BLOCK, BLOCK + 51)).toEqual([]);
    expect(store.at(BLOCK + 50)?.n).toBe(BLOCK + 51);
  });

  it("leaves out what comes in hidden levels and sources, and still counts it", () => {
    const store = new Store();
    store.reset(about(0), { levels: new Set(["debug"]), sources: new Set(["stderr"]) });
    store.append([event("a", "debug"), event("b"), event("c", "error", { src: "stderr" })], 9, true);
    expect([shown(store), store.records, store.levels, store.sources, store.size, store.complete]).toEqual([["b"], 3, { debug: 1, info: 1, error: 1 }, { log: 2, stderr: 1 }, 9, true]);
    expect(filters(store.hidden)).toBe("&level=info&level=warning&level=error&source=log&source=stdout&source=system");
    expect(filters({ levels: new Set(["debug", "info", "warning", "error"]), sources: new Set() })).toBe("&level=-");
  });
});

describe("groups", () => {
  it("fold when they ended well, stay open with errors or without an end", () => {
    const store = new Store();
    store.reset(about(0));
    put(store, "::group::one", "a", "::endgroup::", "::group::two", "bad", "::endgroup::", "::group::outer", "::group::inner", "b", "::endgroup::", "c");
    expect(shown(store)).toEqual(["one", "two", "bad", "outer", "inner", "c"]);
    put(store, "::endgroup::", "::endgroup::", "d");
    expect(shown(store)).toEqual(["one", "two", "bad", "outer", "d"]);
    store.reveal(6); // of b
    expect(shown(store)).toEqual(["one", "two", "bad", "outer", "inner", "b", "c", "d"]);
    store.toggle(1);
    expect(shown(store).slice(0, 3)).toEqual(["one", "a", "two"]);
  });

  it("are the same when the server tells of them, and what a person did outlives a new load", () => {
    const store = new Store();
    const groups: GroupInfo[] = [[3, 2, 900_000, 0], [10, 9, 20, 0], [900_010, 900_008, null, 1]];
    store.reset(about(1_000_000, groups, 999_990));
    expect(store.places).toBe(999_990 - (900_000 - 3));
    expect([store.rank(2), store.rank(3), store.place(900_000), store.place(500)]).toEqual([2, 900_000, 3, 2]);
    store.toggle(3);
    expect([store.isOpen(3), store.isOpen(10), store.isOpen(4)]).toEqual([true, false, null]);
    expect(store.places).toBe(999_990 - 10);
    store.reset(about(1_000_000, groups, 999_990));
    expect(store.isOpen(3)).toBe(true);
    put(store, "::endgroup::");
    expect(store.isOpen(900_010)).toBe(true);
  });

  it("that a person shuts while they grow swallow what comes", () => {
    const store = new Store();
    store.reset(about(0));
    put(store, "::group::g", "a");
    store.toggle(1);
    put(store, "b", "c");
    expect(shown(store)).toEqual(["g"]);
    put(store, "::endgroup::", "after");
    expect(shown(store)).toEqual(["g", "after"]);
  });

  it("map every place to a rank and back", () => {
    const store = new Store();
    store.reset(about(60, [[3, 2, 7, 0], [8, 7, 9, 0], [20, 19, 40, 0], [25, 24, 30, 0], [50, 49, 55, 1]]));
    for (let place = 0; place < store.places; place++) expect(store.place(store.rank(place))).toBe(place);
    expect(new Set(Array.from({ length: store.places }, (_, k) => store.rank(k))).size).toBe(60 - 4 - 1 - 20);
  });
});

describe("rows", () => {
  it("of tall records push down what is below; a traceback that opens has more of them", () => {
    const store = new Store();
    store.reset(about(1000));
    store.put(windowAt(0, BLOCK, (rank) => (rank === 3 ? { ...failure, level: "error" } : event(rank === 9 ? "one\ntwo\nthree" : "x"))));
    const short = store.rowsOf(store.at(3)!);
    expect(short).toBeGreaterThan(1);
    expect([store.row(3), store.row(4), store.row(9), store.row(10), store.rows]).toEqual([3, 3 + short, 8 + short, 11 + short, 1000 + short - 1 + 2]);
    expect([store.placeAt(3 + short - 1), store.placeAt(3 + short), store.placeAt(10 + short)]).toEqual([{ place: 3, sub: short - 1 }, { place: 4, sub: 0 }, { place: 9, sub: 2 }]);
    store.toggleTrace(4);
    expect(store.rowsOf(store.at(3)!)).toBe(store.at(3)!.parts.length);
    store.measure(4, 50);
    expect(store.row(4)).toBe(53);
    store.unmeasure();
    for (let row = 0; row < store.rows; row++) {
      const { place, sub } = store.placeAt(row);
      expect(store.row(place) + sub).toBe(row);
    }
  });

  it("are drawn only where they show, with colours that go on and hits marked", () => {
    const rec = record(event("\x1b[31mred\nstill <b>red</b>\x1b[0m\nplain"), 7);
    const look: Look = { at: new Set([7]), hits: pattern("RED", false), hit: 7, group: () => null, trace: () => false };
    const rows = rowsOf(rec, rec.parts, 1, 3, look);
    expect(rows.map((r) => r.textContent?.trim())).toEqual(["still <b>red</b>", "plain"]);
    expect(rows[0]!.querySelectorAll("mark.now").length).toBe(1);
    expect(rows[0]!.querySelector(".a-r")?.textContent).toBe("still <b>red</b>");
    expect([pattern("(", true), pattern("a.c", false)!.test("abc")]).toEqual([null, false]);
  });
});

describe("the window on the rows", () => {
  it("holds what is in view and a margin", () => {
    expect(windowOf(1000, LINE * 100, LINE * 30, 10)).toEqual({ from: 90, to: 140, offset: 90 * LINE, height: 1000 * LINE });
    expect(windowOf(5, 0, 600)).toMatchObject({ from: 0, to: 5, offset: 0 });
    expect(windowOf(0, 0, 600)).toMatchObject({ from: 0, to: 0 });
  });

  it("reaches every row of a log that is taller than a browser allows", () => {
    const total = 2_000_000;
    const room = LINE * 30;
    expect(windowOf(total, 0, room).from).toBe(0);
    expect(windowOf(total, MAX_HEIGHT - room, room).to).toBe(total);
    for (const at of [0, 5, 777_777, total - 1]) {
      const view = windowOf(total, scrollTo(total, at, room), room);
      expect(view.from <= at && at < view.to).toBe(true);
    }
  });

  it("finds the row at the top edge again", () => {
    for (const total of [5000, 2_000_000]) for (const row of [0, 17, 4321]) expect(topRow(total, topOf(total, row, 0, 540), 540)).toEqual({ row, px: 0 });
    expect(topRow(5000, topOf(5000, 12, 7, 540), 540)).toEqual({ row: 12, px: 7 });
  });
});
