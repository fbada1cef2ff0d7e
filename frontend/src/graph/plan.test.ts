import { describe, expect, it } from "vitest";
import { fromJson, toDot } from "./dot";
import { layered, ranks } from "./fallback";
import { groupStates, plan, shownAs } from "./plan";
import type { Edge, GNode } from "./types";

const node = (id: string, parent: string | null = null, state: string | null = null, group = false): GNode => ({ id, label: id, parent, group, mapped: false, op: "", count: 1, state, took: "", reason: "" });
const nodes = [node("a", null, "success"), node("g", null, null, true), node("g.h", "g", null, true), node("g.h.x", "g.h", "failed"), node("g.y", "g", "success"), node('end"; x', null, null)];
const edges: Edge[] = [["a", "g.h.x", "yes"], ["a", "g.y", ""], ["g.h.x", 'end"; x', ""], ["g.y", 'end"; x', ""], ["g.h.x", "g.y", ""]];

describe("what is drawn", () => {
  it("stands a folded group for everything in it and draws each edge once", () => {
    const byId = new Map(nodes.map((n) => [n.id, n]));
    expect(shownAs("g.h.x", byId, new Set(["g", "g.h"]))).toBe("g");
    const folded = plan(nodes, edges, new Set(["g"]));
    expect(folded.nodes.map((n) => n.id)).toEqual(["a", "g", 'end"; x']);
    expect(folded.edges).toEqual([["a", "g", "yes"], ["g", 'end"; x', ""]]);
    expect(plan(nodes, edges, new Set(["g.h"])).groups.map((g) => g.id)).toEqual(["g"]);
  });

  it("sums a group to its worst task and its size", () => {
    expect(groupStates(nodes).get("g")).toEqual({ state: "failed", size: 2 });
    expect(groupStates([node("g", null, null, true), node("g.x", "g")]).get("g")).toEqual({ state: null, size: 1 });
  });
});

describe("layouts", () => {
  it("puts every task right of what it waits for", () => {
    const laid = layered(plan(nodes, edges, new Set()));
    for (const e of laid.edges) expect(laid.nodes[e.a]!.x + laid.nodes[e.a]!.w).toBeLessThan(laid.nodes[e.b]!.x);
    const g = laid.groups.g!;
    const inner = laid.nodes["g.h.x"]!;
    expect(inner.x >= g.x && inner.y >= g.y && inner.x + inner.w <= g.x + g.w && inner.y + inner.h <= g.y + g.h).toBe(true);
  });

  it("leads the other three ways too", () => {
    const p = plan(nodes, edges, new Set(["g"]));
    const at = (way: "RL" | "TB" | "BT") => layered(p, way).nodes;
    expect(at("RL").a!.x).toBeGreaterThan(at("RL").g!.x + at("RL").g!.w);
    expect(at("TB").a!.y + at("TB").a!.h).toBeLessThan(at("TB").g!.y);
    expect(at("BT").a!.y).toBeGreaterThan(at("BT").g!.y + at("BT").g!.h);
    expect(toDot(p, "BT")).toContain("rankdir=BT");
    for (const e of layered(p, "BT").edges) expect(e.d).not.toContain("NaN");
  });

  it("ranks by the longest path and ends in a circle", () => {
    expect(ranks(["a", "b", "c"], [["a", "b"], ["b", "c"], ["a", "c"]]).get("c")).toBe(2);
    expect(ranks(["a", "b"], [["a", "b"], ["b", "a"]]).size).toBe(2);
  });

  it("never writes a user's words into dot and reads positions back", () => {
    const p = plan(nodes, edges, new Set());
    const dot = toDot(p);
    expect(dot).not.toContain("end");
    expect(dot.match(/subgraph/g)?.length).toBe(2);
    const json = JSON.stringify({ bb: "0,0,300,100", objects: [{ name: "cluster_4", bb: "100,10,300,90" }, { name: "n0", pos: "86,50" }, { name: "n1", pos: "200,50" }], edges: [{ tail: 1, head: 2, pos: "e,114,50 172,50 180,50 190,50 200,50" }] });
    const laid = fromJson(json, p);
    expect(laid.nodes.a).toEqual({ x: 0, y: 30, w: 172, h: 40 });
    expect(laid.edges[0]).toMatchObject({ a: "a", d: "M172 50C180 50 190 50 200 50" });
    expect(Object.keys(laid.groups).length).toBe(1);
  });
});
