import { describe, expect, it } from "vitest";
import { CELL, HEAD, ROW, hit, reveal, scale, span, visibleRows, type View } from "./geometry";
import type { Row } from "./model";

const row = (id: string, parent = -1, group = false): Row => ({ id, label: id, depth: parent < 0 ? 0 : 1, parent, group, mapped: false, size: 1 });
const rows = [row("start"), row("g", -1, true), row("g.a", 1), row("g.h", 1, true), row("g.h.x", 3), row("end")];
const view: View = { width: 600, height: 300, left: 0, top: 0, label: 200 };

describe("what is where", () => {
  it("hides what lies in a folded group, at any depth", () => {
    expect(visibleRows(rows, new Set(), "")).toEqual([0, 1, 2, 3, 4, 5]);
    expect(visibleRows(rows, new Set(["g"]), "")).toEqual([0, 1, 5]);
    expect(visibleRows(rows, new Set(["g.h"]), "")).toEqual([0, 1, 2, 3, 5]);
  });

  it("shows matching tasks only while filtering, folded or not", () => {
    expect(visibleRows(rows, new Set(["g"]), "H.X")).toEqual([4]);
  });

  it("finds tiles, bars and labels under the pointer", () => {
    const shown = [0, 1, 5];
    expect(hit(view, 200 + 2 + CELL * 3 + 4, HEAD + ROW * 2 + 5, shown, 10)).toEqual({ t: 5, r: 3 });
    expect(hit(view, 200 + 2 + CELL * 3 + 4, 20, shown, 10)).toEqual({ t: -1, r: 3 });
    expect(hit(view, 50, HEAD + 5, shown, 10)).toEqual({ t: 0, r: -1 });
    expect(hit(view, 50, HEAD + ROW * 3 + 5, shown, 10)).toBeNull();
    expect(hit(view, 200 + 2 + CELL * 11, HEAD + 5, shown, 10)).toBeNull();
    expect(hit({ ...view, left: CELL * 5, top: ROW }, 200 + 2 + 4, HEAD + 5, shown, 10)).toEqual({ t: 1, r: 5 });
  });

  it("draws only what is in view", () => {
    expect(span({ ...view, left: CELL * 2, top: ROW * 3 }, 100, 50)).toEqual({ r0: 2, r1: Math.ceil((36 + 400) / CELL), k0: 3, k1: Math.ceil((60 + 216) / ROW) });
    expect(span(view, 4, 3)).toMatchObject({ r1: 3, k1: 4 });
  });

  it("scrolls no further than needed to show a tile", () => {
    expect(reveal(view, 2, 3)).toEqual({ left: 0, top: 0 });
    expect(reveal(view, 50, 3).top).toBe(51 * ROW + ROW - (300 - HEAD));
    expect(reveal({ ...view, top: 500 }, 2, 0).top).toBe(2 * ROW);
  });

  it("scales the bars to a round time above the longest", () => {
    expect([0.4, 15, 700, 5000].map(scale)).toEqual([1, 20, 1200, 7200]);
  });
});
