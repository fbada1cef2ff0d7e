/* The whole graph as a file: a copy of what is drawn with its colours written out, icons taken in, nothing outside needed. */
import { $, $$, s, sprite } from "../lib/dom";
import { tr } from "../lib/text";

const SHOWN = ["fill", "stroke", "stroke-width", "stroke-dasharray", "font", "text-anchor", "paint-order", "color", "opacity"] as const;
const PAD = 24;
/** Longest side of a picture in pixels: more than that browsers refuse to draw. */
const LONGEST = 8192;

/** The picture as text. `svg` is the drawing on the page, `w` and `h` the size of its layout. */
export async function toSvg(svg: SVGSVGElement, w: number, h: number): Promise<string> {
  const icons = new DOMParser().parseFromString(await (await fetch(sprite())).text(), "image/svg+xml");
  const copy = svg.cloneNode(true) as SVGSVGElement;
  const pairs: [Element, Element][] = [[svg, copy], ...$$<Element>("*", svg).map((from, k): [Element, Element] => [from, $$<Element>("*", copy)[k]!])];
  write(pairs);
  for (const use of $$<SVGUseElement>("use", copy)) {
    const symbol = icons.getElementById((use.getAttribute("href") ?? "").split("#")[1] ?? "");
    const box = use.parentElement;
    if (symbol && box) {
      box.setAttribute("viewBox", symbol.getAttribute("viewBox") ?? "0 0 16 16");
      use.replaceWith(...[...symbol.childNodes].map((n) => document.importNode(n, true)));
    }
  }
  for (const link of $$<Element>("a", copy)) {
    const to = link.getAttribute("href");
    if (to?.startsWith("/")) link.setAttribute("href", new URL(to, location.href).href);
    else link.removeAttribute("href");
  }
  $("#view", copy)?.removeAttribute("transform");
  const size = { width: String(Math.ceil(w + 2 * PAD)), height: String(Math.ceil(h + 2 * PAD)) };
  copy.setAttribute("viewBox", `0 0 ${size.width} ${size.height}`);
  copy.removeAttribute("class");
  for (const [k, v] of Object.entries(size)) copy.setAttribute(k, v);
  copy.prepend(s("rect", { ...size, fill: getComputedStyle(svg.parentElement!).backgroundColor }));
  return new XMLSerializer().serializeToString(copy);
}

/** Every property that is seen, from the page into the copy. Read first, then written: one style calculation. */
function write(pairs: [Element, Element][]): void {
  const read = pairs.map(([from, to]) => ({ to: to as SVGElement, style: getComputedStyle(from), from }));
  const values = read.map(({ style }) => SHOWN.map((name) => style.getPropertyValue(name)));
  read.forEach(({ to }, k) => SHOWN.forEach((name, n) => values[k]![n] && to.style.setProperty(name, values[k]![n]!)));
}

export async function toPng(text: string, w: number, h: number): Promise<Blob> {
  const image = new Image();
  image.src = `data:image/svg+xml;charset=utf-8,${encodeURIComponent(text)}`;
  await image.decode();
  const by = Math.min(2, LONGEST / Math.max(w + 2 * PAD, h + 2 * PAD));
  const canvas = document.createElement("canvas");
  canvas.width = Math.ceil((w + 2 * PAD) * by);
  canvas.height = Math.ceil((h + 2 * PAD) * by);
  canvas.getContext("2d")!.drawImage(image, 0, 0, canvas.width, canvas.height);
  return new Promise((done, fail) => canvas.toBlob((blob) => (blob ? done(blob) : fail(new Error(tr("The picture is too large. Fold groups, or take the SVG.")))), "image/png"));
}

export function save(blob: Blob, name: string): void {
  const link = document.createElement("a");
  link.href = URL.createObjectURL(blob);
  link.download = name;
  link.click();
  setTimeout(() => URL.revokeObjectURL(link.href), 10_000);
}
