/* Positions for a plan: remembered per DAG version, else from Graphviz in a worker, else from our own layout. */
import { fromJson, toDot } from "./dot";
import { layered } from "./fallback";
import type { Laid, Plan, Way } from "./types";

const DEADLINE = 10_000;

export async function layout(plan: Plan, key: string, way: Way): Promise<Laid> {
  const known = recall(key);
  if (known) return known;
  const laid = await graphviz(plan, way).catch(() => null);
  if (laid && plan.nodes.every((n) => laid.nodes[n.id])) {
    keep(key, laid);
    return laid;
  }
  return layered(plan, way);
}

function graphviz(plan: Plan, way: Way): Promise<Laid> {
  return new Promise((done, fail) => {
    const worker = new Worker(new URL("./worker.ts", import.meta.url), { type: "module" });
    const end = (run: () => void): void => {
      clearTimeout(timer);
      worker.terminate();
      run();
    };
    const timer = setTimeout(() => end(() => fail(new Error("too slow"))), DEADLINE);
    worker.onerror = () => end(() => fail(new Error("no worker")));
    worker.onmessage = (e: MessageEvent<{ ok?: string; error?: string }>) => end(() => {
      if (e.data.ok) done(fromJson(e.data.ok, plan));
      else fail(new Error(e.data.error));
    });
    worker.postMessage(toDot(plan, way));
  });
}

function recall(key: string): Laid | null {
  try {
    return JSON.parse(sessionStorage.getItem(`layout:${key}`) ?? "null") as Laid | null;
  } catch {
    return null;
  }
}

function keep(key: string, laid: Laid): void {
  try {
    sessionStorage.setItem(`layout:${key}`, JSON.stringify(laid));
  } catch {
    // full: the next visit lays it out again
  }
}
