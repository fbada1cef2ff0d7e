/* The graph as data: nodes and edges from the server, positions from a layout. */
export interface GNode { id: string; label: string; parent: string | null; group: boolean; mapped: boolean; op: string; count: number; state: string | null; took: string; reason: string; kind?: string; href?: string }
/** Which way the edges lead. */
export type Way = "LR" | "RL" | "TB" | "BT";
export type Edge = [string, string, string];
export interface Box { x: number; y: number; w: number; h: number }
export interface Laid { w: number; h: number; nodes: Record<string, Box>; groups: Record<string, Box>; edges: { a: string; b: string; d: string; x: number; y: number; text: string }[] }
export interface Plan { nodes: { id: string; parent: string | null; w: number; h: number }[]; groups: { id: string; parent: string | null; label: string }[]; edges: Edge[] }

export const NODE_W = 172;
export const NODE_H = 40;
