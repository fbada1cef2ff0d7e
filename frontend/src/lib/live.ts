/* The page's one WebSocket: topics in, events out, always honest about whether it is live.

   A subscription starts from the cursor of its snapshot, so that nothing is missed; events that the snapshot already
   holds are dropped here (`sees`). After a gap the socket subscribes again from the same cursors and the server replays,
   or answers "resync": then the owner loads its data afresh and gives the new cursor. */

/** [xid, id, kind, verb, dag id, run pk, run id, state, task instances | their number, at ms] */
export type LiveEvent = [number, number, string, string, string | null, number | null, string | null, string | null, Ti[] | number, number];
/** [pk, task id, map index, try number] */
export type Ti = [number, string, number, number];
/** `behind`: too much was added to stream it all; the stream ends here, windows are asked for. */
export interface LogFrame { from: number; to: number; lines: Record<string, unknown>[]; complete: boolean; behind?: true }

export interface Subscription {
  topic: string;
  /** Which part of the page asks; a part that asks again for its topic replaces what it asked before. */
  who?: string;
  cursor: string | null;
  onEvents?: (events: LiveEvent[]) => void;
  onLog?: (frame: LogFrame) => void;
  onResync?: () => void;
  onRefused?: (why: string) => void;
}

export interface Seen { xmin: number; xmax: number; open: Set<number> }

export function parseCursor(text: string): Seen {
  const [xmin = "0", xmax = "0", open = ""] = text.split(":");
  return { xmin: +xmin, xmax: +xmax, open: new Set(open ? open.split(",").map(Number) : []) };
}

/** Whether the snapshot already contains that transaction. */
export function sees(seen: Seen, xid: number): boolean {
  return xid < seen.xmin || (xid < seen.xmax && !seen.open.has(xid));
}

/** Only what the snapshot has not seen. */
export function unseen(seen: Seen | null, events: LiveEvent[]): LiveEvent[] {
  return seen ? events.filter((e) => !sees(seen, e[0])) : events;
}

export type Health = "live" | "reconnecting" | "stale" | "out";
type Asked = Subscription & { key: string; seen: Seen | null };
type Connect = (url: string) => WebSocket;

const BEAT_MS = 25_000;

export class Live {
  #socket: WebSocket | null = null;
  #asked = new Map<string, Asked>();
  #pause = 500;
  #retry: ReturnType<typeof setTimeout> | undefined;
  #beat: ReturnType<typeof setTimeout> | undefined;
  #lost = 0;
  #health: Health = "reconnecting";
  onHealth: (health: Health, sinceMs: number) => void = () => undefined;
  /** Numbers beside the navigation, when they have changed. */
  onNumbers: (numbers: Record<string, number>) => void = () => undefined;

  constructor(private url: string, private connect: Connect = (u) => new WebSocket(u)) {}

  subscribe(sub: Subscription): void {
    const asked = { ...sub, key: key(sub.topic), seen: sub.cursor ? parseCursor(sub.cursor) : null };
    this.#asked.set(`${asked.key} ${sub.who ?? ""}`, asked);
    if (this.#socket?.readyState === 1) this.#ask(sub);
    else if (!this.#socket) this.open();
  }

  unsubscribe(topic: string): void {
    for (const [name, asked] of this.#asked) if (asked.key === key(topic)) this.#asked.delete(name);
    if (this.#socket?.readyState === 1) this.#socket.send(JSON.stringify({ unsub: topic }));
  }

  open(): void {
    clearTimeout(this.#retry);
    if (this.#health === "out") return;
    const socket = (this.#socket = this.connect(this.url));
    socket.onopen = () => {
      this.#pause = 500;
      this.#lost = 0;
      this.#say("live");
      this.#alive();
      for (const asked of this.#asked.values()) this.#ask(asked);
    };
    socket.onmessage = (e) => this.#hear(String(e.data));
    socket.onclose = (e) => {
      if (this.#socket !== socket) return;
      this.#socket = null;
      clearTimeout(this.#beat);
      if (e.code === 4401) return this.#say("out");
      this.#lost ||= Date.now();
      this.#say(Date.now() - this.#lost > 15_000 ? "stale" : "reconnecting");
      this.#retry = setTimeout(() => this.open(), this.#pause * (0.7 + Math.random() * 0.6));
      this.#pause = Math.min(this.#pause * 2, 10_000);
    };
  }

  #ask(sub: Subscription): void {
    this.#socket?.send(JSON.stringify(sub.cursor ? { sub: sub.topic, cursor: sub.cursor } : { sub: sub.topic }));
  }

  #alive(): void {
    clearTimeout(this.#beat);
    this.#beat = setTimeout(() => this.#socket?.close(), BEAT_MS); // silence: the line is dead, whatever the socket says
  }

  #say(health: Health): void {
    this.#health = health;
    this.onHealth(health, this.#lost ? Date.now() - this.#lost : 0);
  }

  #hear(text: string): void {
    this.#alive();
    const message = JSON.parse(text) as { topic?: string; events?: LiveEvent[]; log?: LogFrame; resync?: true | string; no?: string; why?: string; shell?: Record<string, number> };
    if (message.shell) this.onNumbers(message.shell);
    else if (message.resync === true) {
      for (const asked of [...this.#asked.values()]) asked.onResync?.();
    } else if (typeof message.resync === "string") {
      for (const asked of this.#of(message.resync)) asked.onResync?.();
    } else if (message.no) {
      for (const asked of this.#of(key(message.no))) asked.onRefused?.(message.why ?? "");
    } else if (message.topic) {
      for (const asked of this.#of(message.topic)) {
        if (message.log) {
          asked.topic = `${message.topic}:${message.log.to}`; // a reconnect goes on here
          asked.onLog?.(message.log);
        } else if (message.events) {
          const events = unseen(asked.seen, message.events);
          if (events.length) asked.onEvents?.(events);
        }
      }
    }
  }

  /** Who hears a topic; a list of its own, for the hearers may ask anew. */
  #of(topic: string): Asked[] {
    return [...this.#asked.values()].filter((asked) => asked.key === topic);
  }
}

/** The hub's name of a topic: logs without their offset. */
function key(topic: string): string {
  return topic.startsWith("log:") ? topic.split(":").slice(0, 2).join(":") : topic;
}

/** The one socket of this page, made when the first island asks. */
export function live(): Live {
  const w = window as unknown as { tracksideLive?: Live; tracksideHealth?: unknown };
  if (!w.tracksideLive) {
    w.tracksideLive = new Live(`${location.protocol === "https:" ? "wss" : "ws"}://${location.host}/ws`);
    w.tracksideLive.onHealth = (health, since) => {
      w.tracksideHealth = { health, since }; // for the shell, which may be loaded later than the line is up
      dispatchEvent(new CustomEvent("livehealth", { detail: w.tracksideHealth }));
    };
    w.tracksideLive.onNumbers = (detail) => dispatchEvent(new CustomEvent("livenumbers", { detail }));
  }
  return w.tracksideLive;
}
