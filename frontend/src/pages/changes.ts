/* The last word of a batch of events about each task instance. Within a row the event with the higher id is the later. */
import type { LiveEvent } from "../lib/live";

export function newest(events: LiveEvent[]): Map<number, string> {
  const ids = new Map<number, number>();
  const states = new Map<number, string>();
  for (const [, id, , , , , , state, tis] of events) {
    if (!state || !Array.isArray(tis)) continue;
    for (const [pk] of tis) {
      if (id >= (ids.get(pk) ?? 0)) {
        ids.set(pk, id);
        states.set(pk, state);
      }
    }
  }
  return states;
}
