import { describe, expect, it } from "vitest";
import { ansi, plainStyle, stripped } from "./ansi";

const E = "\x1b";

describe("terminal colours", () => {
  it("leaves plain text alone, markup included", () => {
    expect(ansi("<b>no & markup</b>")).toEqual([{ text: "<b>no & markup</b>", css: "" }]);
  });

  it("turns colours and bold into classes", () => {
    expect(ansi(`${E}[32mok${E}[0m done ${E}[1;31mbad${E}[0m`)).toEqual([{ text: "ok", css: "a-g" }, { text: " done ", css: "" }, { text: "bad", css: "a-r a-B" }]);
    expect(ansi(`${E}[91mx${E}[39my`).map((p) => p.css)).toEqual(["a-r", ""]);
  });

  it("skips the numbers of 256 and true colours instead of reading them as styles", () => {
    expect(ansi(`${E}[38;5;1;1mx`)).toEqual([{ text: "x", css: "a-B" }]);
    expect(ansi(`${E}[38;2;1;2;31mx`)).toEqual([{ text: "x", css: "" }]);
  });

  it("carries a style over to the next line when told to", () => {
    const style = plainStyle();
    ansi(`${E}[33mone`, style);
    expect(ansi("two", style)).toEqual([{ text: "two", css: "a-y" }]);
  });

  it("drops what moves the cursor, titles, links and control characters", () => {
    const text = `${E}[2K${E}[1Gprogress${E}]0;title\x07 ${E}]8;;javascript:alert(1)\x07link${E}]8;;\x07\x00\x08`;
    expect(ansi(text).map((p) => p.text).join("")).toBe("progress link");
    expect(stripped(text)).toBe("progress link");
  });

  it("survives sequences that are cut off", () => {
    expect(ansi(`x${E}`).map((p) => p.text).join("")).toContain("x");
    expect(ansi(`x${E}[3`).map((p) => p.text).join("")).toContain("x");
  });
});
