import { expect, it } from "vitest";
import type { LiveEvent } from "../lib/live";
import { newest } from "./changes";

const event = (id: number, state: string, ...pks: number[]): LiveEvent => [1, id, "task", "move", "d", 1, "r", state, pks.map((pk) => [pk, "t", -1, 1]), 0];

it("keeps the last word about each task instance, in whatever order events come", () => {
  expect([...newest([event(5, "success", 1), event(4, "running", 1, 2), event(6, "failed", 2)])]).toEqual([[1, "success"], [2, "failed"]]);
});

it("takes nothing from events that only count", () => {
  expect(newest([[1, 1, "task", "move", "d", 1, "r", "running", 7, 0]]).size).toBe(0);
});
