/* Terminal colours to styled pieces of text. SGR codes become classes, every other escape sequence is dropped. Markup in a
   log stays text: pieces are put into the page with textContent only. */
export interface Piece { text: string; css: string }

const ESCAPE = /\x1b\[([0-9;]*)m|\x1b\[[0-9;?]*[A-Za-ln-z]|\x1b\][^\x07\x1b]*(?:\x07|\x1b\\)?|\x1b[@-Z\\-_]|[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]/g;
const COLOUR: Record<number, string> = { 1: "r", 2: "g", 3: "y", 4: "b", 5: "b", 6: "b", 0: "d" };

export interface Style { colour: string; bold: boolean; dim: boolean }
export const plainStyle = (): Style => ({ colour: "", bold: false, dim: false });

export function ansi(text: string, style: Style = plainStyle()): Piece[] {
  if (!text.includes("\x1b") && !/[\x00-\x08\x0b-\x1f\x7f]/.test(text)) return [{ text, css: css(style) }]; // most lines
  const pieces: Piece[] = [];
  let from = 0;
  const add = (part: string): void => {
    if (part) pieces.push({ text: part, css: css(style) });
  };
  for (const match of text.matchAll(ESCAPE)) {
    add(text.slice(from, match.index));
    from = match.index + match[0].length;
    if (match[1] !== undefined) sgr(match[1], style);
  }
  add(text.slice(from));
  return pieces;
}

function sgr(codes: string, style: Style): void {
  const list = codes === "" ? [0] : codes.split(";").map(Number);
  for (let k = 0; k < list.length; k++) {
    const n = list[k]!;
    if (n === 0) Object.assign(style, plainStyle());
    else if (n === 1) style.bold = true;
    else if (n === 2) style.dim = true;
    else if (n === 22) style.bold = style.dim = false;
    else if (n === 39) style.colour = "";
    else if (n === 38 || n === 48) k += list[k + 1] === 5 ? 2 : 4;
    else if (n >= 30 && n <= 37) style.colour = COLOUR[n - 30] ?? "";
    else if (n >= 90 && n <= 97) style.colour = COLOUR[n - 90] ?? "";
  }
}

function css(style: Style): string {
  return [style.colour && `a-${style.colour}`, style.dim && !style.colour && "a-d", style.bold && "a-B"].filter(Boolean).join(" ");
}

/** The text without any escape sequence, for searching. */
export function stripped(text: string): string {
  return text.replace(ESCAPE, "");
}
