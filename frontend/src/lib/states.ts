/* States as the pages know them: letters of the grid's answer, words, order of badness. The server's side of the same:
   apps/ui/queries/grid.py (letters) and apps/ui/words.py (words, order). */
import { tr } from "./text";
export const STATES = [
  "none", "scheduled", "queued", "running", "success", "failed", "up_for_retry", "up_for_reschedule", "deferred",
  "awaiting_input", "restarting", "skipped", "upstream_failed", "removed",
] as const;
export type State = (typeof STATES)[number];

/** Cell without a task instance. */
export const EMPTY = 255;

const index = new Map<string, number>(STATES.map((s, k) => [s, k]));

export function codeOf(state: string | null | undefined): number {
  return index.get(state ?? "none") ?? 0;
}

export function codeOfLetter(letter: number): number {
  return letter === 46 ? EMPTY : letter - 97;
}

const WORDS: Partial<Record<string, () => string>> = {
  none: () => tr("No status"),
  scheduled: () => tr("Scheduled"),
  queued: () => tr("Queued"),
  running: () => tr("Running"),
  success: () => tr("Success"),
  failed: () => tr("Failed"),
  up_for_retry: () => tr("Up for retry"),
  up_for_reschedule: () => tr("Up for reschedule"),
  deferred: () => tr("Deferred"),
  awaiting_input: () => tr("Awaiting a person"),
  restarting: () => tr("Restarting"),
  skipped: () => tr("Skipped"),
  upstream_failed: () => tr("Upstream failed"),
  removed: () => tr("Removed"),
};

export function label(state: string): string {
  return WORDS[state]?.() ?? state.charAt(0).toUpperCase() + state.slice(1).replaceAll("_", " ");
}

/** The same within a sentence: only the first letter changes, other languages write some words large. */
export function said(state: string): string {
  const text = label(state);
  return text.charAt(0).toLowerCase() + text.slice(1);
}

export const WORST_FIRST: readonly number[] = (
  ["failed", "upstream_failed", "up_for_retry", "awaiting_input", "running", "restarting", "queued", "deferred", "up_for_reschedule", "scheduled", "skipped", "success", "removed", "none"] as const
).map((s) => codeOf(s));

const rank = new Uint8Array(256).fill(99);
WORST_FIRST.forEach((code, k) => (rank[code] = k));

/** The state that stands for two. */
export function worse(a: number, b: number): number {
  return (rank[b] ?? 99) < (rank[a] ?? 99) ? b : a;
}
