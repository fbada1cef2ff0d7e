/* Small helpers around the DOM. Text becomes text nodes; markup comes from the server only (`fragment`). */
import { tr } from "./text";
export const $ = <T extends Element = HTMLElement>(q: string, root: ParentNode = document): T | null => root.querySelector<T>(q);
export const $$ = <T extends Element = HTMLElement>(q: string, root: ParentNode = document): T[] => [...root.querySelectorAll<T>(q)];

type Child = Node | string | null | undefined;

export function h<K extends keyof HTMLElementTagNameMap>(tag: K, attributes: Record<string, string> = {}, ...children: Child[]): HTMLElementTagNameMap[K] {
  const element = document.createElement(tag);
  for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, v);
  element.append(...children.filter((c): c is Node | string => c != null));
  return element;
}

const SVG = "http://www.w3.org/2000/svg";

export function s<K extends keyof SVGElementTagNameMap>(tag: K, attributes: Record<string, string | number> = {}, ...children: Child[]): SVGElementTagNameMap[K] {
  const element = document.createElementNS(SVG, tag);
  for (const [k, v] of Object.entries(attributes)) element.setAttribute(k, String(v));
  element.append(...children.filter((c): c is Node | string => c != null));
  return element;
}

export const sprite = (): string => document.body.dataset.icons ?? "/static/icons.svg";

export function icon(name: string, css = "i"): SVGSVGElement {
  return s("svg", { class: css, "aria-hidden": "true" }, s("use", { href: `${sprite()}#${name}` }));
}

/** The glyph of a state, silent: words stand beside it. */
export function glyph(state: string, css = "g"): SVGSVGElement {
  const drawn = icon(`s-${state}`, css);
  drawn.dataset.s = state;
  return drawn;
}

/** Markup of our own server as nodes. */
export function fragment(html: string): DocumentFragment {
  const range = document.createRange();
  range.selectNodeContents(document.body);
  return range.createContextualFragment(html);
}

export async function getHtml(url: string, headers: Record<string, string> = {}): Promise<string> {
  const response = await fetch(url, { headers: { "HX-Request": "true", ...headers }, credentials: "same-origin" });
  if (response.redirected && response.url.includes("/login")) location.reload();
  if (!response.ok) throw new Error(`${response.status} ${response.statusText}`);
  return response.text();
}

export async function getJson<T>(url: string): Promise<T> {
  const response = await fetch(url, { credentials: "same-origin", headers: { Accept: "application/json" } });
  if (!response.ok) {
    const detail = await response.json().then((d: { detail?: string }) => d.detail, () => "");
    throw new Error(detail || tr("The server answered {status}.", { status: response.status }));
  }
  return (await response.json()) as T;
}

/** At most once per `ms`, the last call wins; the first runs after `lead`. */
export function throttled(run: () => void, ms: number, lead = 0): () => void {
  let timer: ReturnType<typeof setTimeout> | undefined;
  let last = 0;
  return () => {
    timer ??= setTimeout(() => {
      timer = undefined;
      last = Date.now();
      run();
    }, Math.max(lead, last + ms - Date.now()));
  };
}

/** For an answer that did not come: ask again after 2, 4, … seconds, six times; the next event begins anew. */
export function again(run: () => void): { failed: () => void; fine: () => void } {
  let tries = 0;
  return {
    failed: () => void (++tries < 7 && setTimeout(run, 1000 * 2 ** tries)),
    fine: () => void (tries = 0),
  };
}

/** A token's colour as the canvas needs it: resolved through the cascade, so both themes are honoured. */
export function token(name: string): string {
  const probe = $("#probe") ?? document.body.appendChild(h("i", { id: "probe", hidden: "" }));
  probe.style.color = `var(--${name})`;
  return getComputedStyle(probe).color;
}

export const typing = (e: Event): boolean => (e.target as Element).closest?.("input, textarea, select, [contenteditable]") != null || $("dialog[open]") != null;
