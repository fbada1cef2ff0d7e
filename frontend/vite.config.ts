/* One entry per island. Hashed files and a manifest land in static/dist; apps/ui/assets.py reads the manifest. */
import { defineConfig } from "vitest/config";

const islands = ["shell", "pages", "grid", "graph", "log"];

export default defineConfig({
  base: "/static/dist/",
  build: {
    outDir: "../static/dist",
    emptyOutDir: true,
    manifest: true,
    target: "es2022",
    modulePreload: { polyfill: false },
    rollupOptions: { input: Object.fromEntries(islands.map((name) => [name, `src/${name}/main.ts`])) },
  },
  worker: { format: "es" },
  test: { environment: "happy-dom", include: ["src/**/*.test.ts"] },
});
