/* One record of a log as the lines that people read: its text, below it the exception in short, the whole traceback folded,
   heads and ends of groups. The same as apps/ui/loglines.py; both are held to apps/ui/tests/log_cases.json. */
import { tr, trn } from "../lib/text";
export type Kind = "" | "+" | "err" | "fold" | "tb" | "group" | "end";
export type Part = [text: string, kind: Kind];
export type LogEvent = Record<string, unknown>;

interface Failure { exc_type?: string; exc_value?: string; exc_notes?: string[]; is_cause?: boolean; text?: string }

const FRAME = /^ {2}File "([^"]*)", line \d+/;
const MACHINERY = /site-packages|\/lib\/python|^<frozen|^<template|\/trackside\/(sdk|runner|core|airflow)\//;
const FRAMES = 8;
const MESSAGE_LINES = 12;

export function expand(event: LogEvent): Part[] {
  const text = String(event.event ?? "");
  if (text.startsWith("::group::")) return [[text.slice(9).trim() || tr("Group"), "group"]];
  if (text.startsWith("::endgroup::")) return [["", "end"]];
  const parts: Part[] = text.split("\n").map((line, k) => [line, k ? "+" : ""]);
  const detail = event.error_detail;
  if (typeof detail === "string") return [...parts, ...trimmed(detail).split("\n").map((line): Part => [line, "err"])];
  const chain = Array.isArray(detail) ? detail.filter((part): part is Failure => part !== null && typeof part === "object") : [];
  if (!chain.length) return parts;
  const [short, everything] = shortly(chain);
  for (const line of short) parts.push([line, "err"]);
  if (!everything) {
    const whole = wholly(chain);
    parts.push([trn("Whole traceback, {n} line", "Whole traceback, {n} lines", whole.length), "fold"], ...whole.map((line): Part => [line, "tb"]));
  }
  return parts;
}

function shortly(chain: Failure[]): [string[], boolean] {
  const lines: string[] = [];
  let everything = chain.length === 1;
  chain.forEach((part, k) => {
    const before = !k ? "" : part.is_cause ? "caused by " : "while handling ";
    const message = `${part.exc_type ?? "Exception"}: ${part.exc_value ?? ""}`.replace(/[: \n]+$/, "").split("\n");
    const notes = (part.exc_notes ?? []).flatMap((note) => String(note).split("\n"));
    everything &&= message.length <= MESSAGE_LINES;
    lines.push(before + message[0], ...[...message.slice(1), ...notes].slice(0, MESSAGE_LINES - 1).map((line) => `  ${line}`));
    const frames = framesOf(part.text ?? "");
    let mine = frames.filter((f) => !MACHINERY.test(f.name));
    if (!mine.length) mine = frames.slice(-1);
    everything &&= mine.length === frames.length && mine.length <= FRAMES;
    if (mine.length > FRAMES) lines.push(`  … ${mine.length - FRAMES} frames`);
    for (const frame of mine.slice(-FRAMES)) lines.push(...frame.lines);
  });
  return [lines, everything];
}

function framesOf(text: string): { name: string; lines: string[] }[] {
  const found: { name: string; lines: string[] }[] = [];
  let inside = false;
  for (const line of text.split("\n")) {
    const match = FRAME.exec(line);
    if (match) found.push({ name: match[1]!, lines: [line] });
    else if (inside && line.startsWith("    ")) found.at(-1)!.lines.push(line);
    inside = match !== null || (inside && line.startsWith("    "));
  }
  return found;
}

function wholly(chain: Failure[]): string[] {
  return chain.flatMap((_, j) => {
    const k = chain.length - 1 - j;
    const how = chain[k]!.is_cause ? "The above exception was the direct cause of the following exception:" : "During handling of the above exception, another exception occurred:";
    return [...trimmed(chain[k]!.text ?? "").split("\n"), ...(k ? ["", how, ""] : [])];
  });
}

const trimmed = (text: string): string => text.replace(/\n+$/, "");
