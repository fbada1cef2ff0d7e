/* A record of the log as the viewer keeps it: its number, level, source, time and the lines people read. */
import { expand, type LogEvent, type Part } from "./expand";

export interface Rec { n: number; level: string; source: string; time: string; parts: Part[] }

export const LEVELS = ["debug", "info", "warning", "error"] as const;
export const SOURCES = ["log", "stdout", "stderr", "system"] as const;
const SAME: Record<string, string> = { critical: "error", fatal: "error", exception: "error", warn: "warning", trace: "debug", notset: "debug" };

/** As `level_of` and `source_of` say on the server. */
export function record(event: LogEvent, n: number): Rec {
  const raw = String(event.level ?? "info").toLowerCase();
  const level = SAME[raw] ?? ((LEVELS as readonly string[]).includes(raw) ? raw : "info");
  const source = typeof event.src === "string" && (SOURCES as readonly string[]).includes(event.src) ? event.src : "log";
  return { n, level, source, time: String(event.t ?? ""), parts: expand(event) };
}

/** How many of its lines show: the whole traceback only when it was opened. */
export function shownParts(rec: Rec, open: boolean): Part[] {
  return open ? rec.parts : rec.parts.filter(([, kind]) => kind !== "tb");
}
