/* Words for people, in the page's language. English is written here in the code and needs no catalogue; for other languages the
   page loads `window.tracksideText` before the islands (apps/ui/languages.py). `{name}` in a text is put in from `values`.
   tools/translations.py finds texts by the names of these functions: call them with a plain text in double quotes. */
type Words = Record<string, string | string[]>;
type Values = Record<string, string | number>;

const words = (): Words => (globalThis as { tracksideText?: Words }).tracksideText ?? {};

/** Language of the page, for numbers and names of days. */
export const language = (): string => globalThis.document?.documentElement.lang || "en";

const filled = (text: string, values: Values): string => text.replace(/\{(\w+)\}/g, (whole, name: string) => String(values[name] ?? whole));

/** One text. */
export function tr(text: string, values: Values = {}): string {
  const known = words()[text];
  return filled(typeof known === "string" ? known : text, values);
}

const CATEGORIES = ["zero", "one", "two", "few", "many", "other"];

/** Singular or plural, by the rules of the language; `{n}` is the number with its separators. */
export function trn(one: string, many: string, n: number, values: Values = {}): string {
  const known = words()[one];
  const rules = new Intl.PluralRules(language());
  const kinds = CATEGORIES.filter((c) => (rules.resolvedOptions().pluralCategories as string[]).includes(c));
  const forms = Array.isArray(known) ? known : [];
  return filled(forms[kinds.indexOf(rules.select(n))] ?? (n === 1 ? one : many), { n: number(n), ...values });
}

/** With thousands separators. */
export const number = (n: number): string => n.toLocaleString(language());
