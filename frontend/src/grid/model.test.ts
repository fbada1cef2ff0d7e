import { describe, expect, it } from "vitest";
import type { LiveEvent } from "../lib/live";
import { EMPTY, STATES, codeOf } from "../lib/states";
import { Model, type GridData } from "./model";

/** start; g(a, b[mapped]); two runs. Letters: e success, a none, d running. */
function data(cells = ["e.ee", "a.ad"]): GridData {
  return {
    cursor: "10:10:", dag: "orders", version: 1,
    rows: { id: ["start", "g", "g.a", "g.b"], label: ["start", "g", "a", "b"], depth: [0, 0, 1, 1], parent: [-1, -1, 1, 1], group: [0, 1, 0, 0], mapped: [0, 0, 0, 1], gone: 4 },
    runs: { pk: [7, 8], id: ["r7", "r8"], type: ["scheduled", "manual"], state: ["success", "running"], at: [1, 2], logical: [null, null], start: [1, 2], end: [5, null], version: [1, 1], reason: [null, null] },
    cells, mapped: { 3: { 1: { d: 2, e: 1 } } },
  };
}
let id = 0;
const task = (run: number, state: string, name: string, index = -1, at = ++id): LiveEvent => [100, at, "task", "move", "orders", run, "r", state, [[1, name, index, 1]], 0];
const loaded = (): Model => {
  const model = new Model();
  model.load(data());
  return model;
};

describe("the grid's memory", () => {
  it("holds one byte per cell and sums groups to their worst member", () => {
    const model = loaded();
    expect(model.state(model.row("start"), 0)).toBe("success");
    expect(model.state(model.row("g"), 0)).toBe("success");
    expect(model.state(model.row("g"), 1)).toBe("running");
    expect(model.rows[model.row("g")]!.size).toBe(2);
    expect(model.counts.get("3:1")).toEqual({ d: 2, e: 1 });
  });

  it("changes one cell and its groups with an event", () => {
    const model = loaded();
    const change = model.apply([task(8, "failed", "g.a")]);
    expect(model.state(model.row("g.a"), 1)).toBe("failed");
    expect(model.state(model.row("g"), 1)).toBe("failed");
    expect(change.cells).toEqual([[2, 1], [1, 1]]);
    expect(model.state(model.row("g.a"), 0)).toBe("success");
  });

  it("keeps the later of two events whatever their order of arrival", () => {
    const model = loaded();
    model.apply([task(8, "success", "start", -1, 50)]);
    model.apply([task(8, "running", "start", -1, 49)]);
    expect(model.state(0, 1)).toBe("success");
  });

  it("asks for a column again when a mapped or an unknown task changed", () => {
    const model = loaded();
    expect([...model.apply([task(8, "success", "g.b", 3)]).columns]).toEqual([8]);
    expect([...model.apply([task(8, "success", "g.b")]).columns]).toEqual([8]);
    expect([...model.apply([task(7, "success", "new_task")]).columns]).toEqual([7]);
  });

  it("names runs it does not know and follows the state of those it knows", () => {
    const model = loaded();
    const change = model.apply([[100, 900, "run", "create", "orders", 9, "r9", "queued", [], 0], [100, 901, "run", "succeed", "orders", 8, "r8", "success", [], 60]]);
    expect([...change.unknown]).toEqual([9]);
    expect(model.runs[1]).toMatchObject({ state: "success", end: 60 });
  });

  it("merges columns that were asked for again and refuses another shape", () => {
    const model = loaded();
    const fresh = data(["e.fe"]);
    fresh.runs = { pk: [8], id: ["r8"], type: ["manual"], state: ["failed"], at: [2], logical: [null], start: [2], end: [9], version: [1], reason: ["a failed"] };
    fresh.mapped = {};
    expect(model.merge(fresh)).toBe(true);
    expect(model.state(model.row("g"), 1)).toBe("failed");
    expect(model.counts.has("3:1")).toBe(false);
    expect(model.runs[1]).toMatchObject({ state: "failed", reason: "a failed" });
    fresh.rows.id = ["start", "g", "g.a", "other"];
    expect(model.merge(fresh)).toBe(false);
  });

  it("ends in the state of a fresh load after any order of the same events", () => {
    const dice = (n: number): number => (seed = (seed * 16807) % 2147483647) % n;
    let seed = 11;
    for (let round = 0; round < 40; round++) {
      const truth = [codeOf("none"), codeOf("none")];
      const events: LiveEvent[] = [];
      for (let k = 0; k < 30; k++) {
        const which = dice(2);
        const code = 1 + dice(STATES.length - 1);
        truth[which] = code;
        events.push(task(8, STATES[code]!, ["start", "g.a"][which]!));
      }
      const model = loaded();
      while (events.length) model.apply([events.splice(dice(events.length), 1)[0]!]);
      for (const [k, name] of ["start", "g.a"].entries()) if (truth[k] !== codeOf("none")) expect(model.at(model.row(name), 1)).toBe(truth[k]);
    }
  });

  it("says nothing of cells that are not there", () => {
    expect(loaded().at(99, 99)).toBe(EMPTY);
    expect(loaded().state(1, 5)).toBeNull();
  });
});
