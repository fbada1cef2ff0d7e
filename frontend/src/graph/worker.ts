/* One layout, then this worker is thrown away: Graphviz's WebAssembly can be left broken by one bad graph. */
import { Graphviz } from "@hpcc-js/wasm-graphviz";

self.onmessage = (e: MessageEvent<string>) => {
  void Graphviz.load()
    // json0: positions without drawing instructions; the wrapper types only the larger kin
    .then((graphviz) => graphviz.layout(e.data, "json0" as "json", "dot"))
    .then((text) => self.postMessage({ ok: text }), (error: Error) => self.postMessage({ error: error.message }));
};
