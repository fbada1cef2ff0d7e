/* Only the lines in view are in the page. Fixed line height; above the browser's limit the scroll position is scaled. */
export const LINE = 18;
export const MAX_HEIGHT = 15_000_000;

export interface Window { from: number; to: number; offset: number; height: number }

/** Which lines to show for a scroll position, where they stand, and how tall the whole is. */
export function windowOf(total: number, top: number, room: number, margin = 20): Window {
  const real = total * LINE;
  const height = Math.min(real, MAX_HEIGHT);
  if (real <= MAX_HEIGHT) {
    const from = Math.max(0, Math.min(total, Math.floor(top / LINE) - margin));
    const to = Math.min(total, Math.ceil((top + room) / LINE) + margin);
    return { from, to, offset: from * LINE, height };
  }
  const share = Math.min(1, Math.max(0, top / Math.max(1, height - room)));
  const first = Math.round(share * Math.max(0, total - room / LINE));
  const from = Math.max(0, first - margin);
  return { from, to: Math.min(total, first + Math.ceil(room / LINE) + margin), offset: top - (first - from) * LINE, height };
}

/** Scroll position at which line `at` stands in the middle. */
export function scrollTo(total: number, at: number, room: number): number {
  const real = total * LINE;
  if (real <= MAX_HEIGHT) return Math.max(0, at * LINE - room / 2);
  return Math.max(0, Math.min(1, (at - room / LINE / 2) / Math.max(1, total - room / LINE))) * (MAX_HEIGHT - room);
}

/** The row at the top edge, and how many pixels of it are above. */
export function topRow(total: number, top: number, room: number): { row: number; px: number } {
  if (total * LINE <= MAX_HEIGHT) return { row: Math.floor(top / LINE), px: top % LINE };
  const share = Math.min(1, Math.max(0, top / Math.max(1, MAX_HEIGHT - room)));
  return { row: Math.round(share * Math.max(0, total - room / LINE)), px: 0 };
}

/** Scroll position at which a row stands at the top edge. */
export function topOf(total: number, row: number, px: number, room: number): number {
  if (total * LINE <= MAX_HEIGHT) return Math.max(0, row * LINE + px);
  return Math.min(1, Math.max(0, row / Math.max(1, total - room / LINE))) * (MAX_HEIGHT - room);
}
