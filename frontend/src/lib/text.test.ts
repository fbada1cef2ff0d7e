import { afterEach, describe, expect, it } from "vitest";
import { number, tr, trn } from "./text";

const globals = globalThis as { tracksideText?: unknown };
const page = (lang: string, words: unknown): void => {
  globals.tracksideText = words;
  document.documentElement.lang = lang;
};

describe("words of the islands", () => {
  afterEach(() => {
    delete globals.tracksideText;
    document.documentElement.lang = "en";
  });

  it("are those of the code without a catalogue", () => {
    expect(tr("{n} behind", { n: "3 s" })).toBe("3 s behind");
    expect(trn("{n} line", "{n} lines", 1)).toBe("1 line");
    expect(trn("{n} line", "{n} lines", 1200)).toBe("1,200 lines");
  });

  it("come from the page's catalogue, plurals and separators by its language", () => {
    page("de", { Close: "Schließen", "{n} line": ["{n} Zeile", "{n} Zeilen"] });
    expect(tr("Close")).toBe("Schließen");
    expect(tr("Not there")).toBe("Not there");
    expect([1, 1200].map((n) => trn("{n} line", "{n} lines", n))).toEqual(["1 Zeile", "1.200 Zeilen"]);
    expect(number(1200)).toBe("1.200");
  });

  it("leave a placeholder that nobody fills as it is", () => {
    expect(tr("{a} and {b}", { a: 1 })).toBe("1 and {b}");
  });
});
