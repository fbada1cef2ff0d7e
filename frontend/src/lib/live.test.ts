import { afterEach, beforeEach, describe, expect, it, vi } from "vitest";
import { Live, parseCursor, sees, unseen, type LiveEvent } from "./live";

class FakeSocket {
  static made: FakeSocket[] = [];
  readyState = 0;
  sent: string[] = [];
  onopen: () => void = () => undefined;
  onclose: (e: { code: number }) => void = () => undefined;
  onmessage: (e: { data: string }) => void = () => undefined;
  constructor() {
    FakeSocket.made.push(this);
  }
  send(text: string): void {
    this.sent.push(text);
  }
  close(code = 1006): void {
    this.readyState = 3;
    this.onclose({ code });
  }
  open(): void {
    this.readyState = 1;
    this.onopen();
  }
  say(message: unknown): void {
    this.onmessage({ data: JSON.stringify(message) });
  }
}

const event = (xid: number): LiveEvent => [xid, xid, "task", "start", "d", 1, "r", "running", [[1, "t", -1, 1]], 0];
const last = (): FakeSocket => FakeSocket.made.at(-1)!;

describe("cursors", () => {
  it("knows what a snapshot saw", () => {
    const seen = parseCursor("100:106:100,103");
    expect([99, 100, 101, 103, 105, 106].map((x) => sees(seen, x))).toEqual([true, false, true, false, true, false]);
    expect(unseen(seen, [event(99), event(103)]).map((e) => e[0])).toEqual([103]);
    expect(unseen(null, [event(1)]).length).toBe(1);
  });
});

describe("the socket of a page", () => {
  beforeEach(() => {
    vi.useFakeTimers();
    FakeSocket.made = [];
  });
  afterEach(() => vi.useRealTimers());
  const made = (): Live => new Live("ws://x/ws", () => new FakeSocket() as unknown as WebSocket);

  it("subscribes with the cursor and drops what the snapshot holds", () => {
    const heard: number[] = [];
    const live = made();
    live.subscribe({ topic: "dag:orders", cursor: "10:12:", onEvents: (events) => heard.push(...events.map((e) => e[0])) });
    last().open();
    expect(JSON.parse(last().sent[0]!)).toEqual({ sub: "dag:orders", cursor: "10:12:" });
    last().say({ topic: "dag:orders", events: [event(9), event(11), event(12)] });
    last().say({ topic: "dag:other", events: [event(50)] });
    expect(heard).toEqual([12]);
  });

  it("serves two parts of a page that hear one topic, each from its own cursor; one that asks anew is not told twice", () => {
    const told: string[] = [];
    const live = made();
    const part = (who: string, cursor: string): void =>
      live.subscribe({ topic: "dag:orders", who, cursor, onEvents: (events) => told.push(...events.map((e) => `${who} ${e[0]}`)) });
    part("grid", "10:10:");
    last().open();
    part("head", "12:12:");
    part("grid", "11:11:");
    last().say({ topic: "dag:orders", events: [event(10), event(11), event(12)] });
    expect(told).toEqual(["grid 11", "grid 12", "head 12"]);
    last().close();
    vi.advanceTimersByTime(1000);
    last().open();
    expect(last().sent.map((text) => (JSON.parse(text) as { cursor: string }).cursor)).toEqual(["11:11:", "12:12:"]);
    live.unsubscribe("dag:orders");
    last().say({ topic: "dag:orders", events: [event(13)] });
    expect(told.length).toBe(3);
  });

  it("comes back after a break, says so, and asks from the same cursor again", () => {
    const health: string[] = [];
    const live = made();
    live.onHealth = (h) => health.push(h);
    live.subscribe({ topic: "run:1", cursor: "1:1:" });
    last().open();
    last().close();
    expect(health).toEqual(["live", "reconnecting"]);
    vi.advanceTimersByTime(1000);
    expect(FakeSocket.made.length).toBe(2);
    last().open();
    expect(last().sent).toEqual([JSON.stringify({ sub: "run:1", cursor: "1:1:" })]);
  });

  it("goes on with a log where it stopped", () => {
    const live = made();
    live.subscribe({ topic: "log:abc:0", cursor: null });
    last().open();
    last().say({ topic: "log:abc", log: { from: 0, to: 512, lines: [], complete: false } });
    last().close();
    vi.advanceTimersByTime(1000);
    last().open();
    expect(last().sent).toEqual([JSON.stringify({ sub: "log:abc:512" })]);
  });

  it("does not come back when the person is signed out", () => {
    const health: string[] = [];
    const live = made();
    live.onHealth = (h) => health.push(h);
    live.open();
    last().open();
    last().close(4401);
    vi.advanceTimersByTime(60_000);
    expect(health.at(-1)).toBe("out");
    expect(FakeSocket.made.length).toBe(1);
  });

  it("closes a line on which nothing beats any more", () => {
    const live = made();
    live.open();
    last().open();
    vi.advanceTimersByTime(20_000);
    last().say({ beat: 1 });
    vi.advanceTimersByTime(20_000);
    expect(last().readyState).toBe(1);
    vi.advanceTimersByTime(6_000);
    expect(FakeSocket.made[0]!.readyState).toBe(3);
  });

  it("hands resync and refusal to who asked", () => {
    const told: string[] = [];
    const live = made();
    live.subscribe({ topic: "run:1", cursor: null, onResync: () => told.push("resync 1"), onRefused: (why) => told.push(why) });
    live.subscribe({ topic: "run:2", cursor: null, onResync: () => told.push("resync 2") });
    last().open();
    last().say({ resync: "run:2" });
    last().say({ no: "run:1", why: "You may not see this." });
    last().say({ resync: true });
    expect(told).toEqual(["resync 2", "You may not see this.", "resync 1", "resync 2"]);
  });
});
