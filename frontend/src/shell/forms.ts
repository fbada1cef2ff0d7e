/* Forms and links without page loads: dialogs, previews, switches, filters. Everything here also works without it:
   each is a plain link or form whose answer is a whole page. */
import { $, $$, fragment, getHtml } from "../lib/dom";
import { toast } from "./toasts";
import { tr } from "../lib/text";

interface Done { toast: string; state: string; href: string; undo?: string }

export function enhance(): void {
  document.addEventListener("click", (e) => {
    const link = (e.target as Element).closest<HTMLAnchorElement>("a[data-dialog]");
    if (!link || e.ctrlKey || e.metaKey || e.shiftKey) return;
    e.preventDefault();
    void openDialog(link.href);
  });
  document.addEventListener("submit", (e) => {
    const form = e.target as HTMLFormElement;
    if (form.matches("[data-switch]")) return void (e.preventDefault(), flip(form));
    if (form.matches("[data-dlg]") && form.closest("dialog")) return void (e.preventDefault(), send(form, e.submitter));
    if (form.matches("[data-filter]")) return void (e.preventDefault(), filter(form));
  });
  document.addEventListener("change", (e) => {
    const box = (e.target as Element).closest("[data-preview]");
    if (box) void preview((e.target as HTMLElement).closest("form"));
  });
  let timer: ReturnType<typeof setTimeout>;
  document.addEventListener("input", (e) => {
    const field = e.target as HTMLInputElement;
    if (field.type === "search" && field.form?.matches("[data-filter]")) {
      clearTimeout(timer);
      timer = setTimeout(() => void filter(field.form as HTMLFormElement), 120);
    }
  });
  addEventListener("popstate", () => location.reload());
}

export async function openDialog(url: string): Promise<void> {
  try {
    show(await getHtml(url), url);
  } catch (error) {
    toast(tr("The dialog did not open: {why}", { why: (error as Error).message }), "failed");
  }
}

function show(html: string, url?: string): void {
  const dialog = $<HTMLDialogElement>("#dialog");
  if (!dialog) return;
  dialog.replaceChildren(fragment(html));
  const form = $("form", dialog);
  dialog.classList.toggle("wide", form?.hasAttribute("data-wide") ?? false);
  dialog.setAttribute("aria-label", $("h2", dialog)?.textContent ?? tr("Action"));
  if (url) dialog.dataset.url = url;
  if (!dialog.open) dialog.showModal();
  ($<HTMLElement>("[aria-invalid='true']", dialog) ?? $<HTMLElement>(".body input:not([type=hidden]), .body select, .body textarea", dialog))?.focus();
}

async function send(form: HTMLFormElement, submitter: HTMLElement | null): Promise<void> {
  if (submitter?.getAttribute("aria-disabled") === "true") return;
  submitter?.setAttribute("aria-busy", "true");
  const body = new FormData(form, submitter);
  const response = await post(form.action, body).catch(() => null);
  submitter?.removeAttribute("aria-busy");
  if (!response) return toast(tr("The server did not answer. Nothing was changed; try again."), "failed");
  if (response.headers.get("content-type")?.includes("json")) {
    const done = (await response.json()) as Done;
    if (response.ok) $<HTMLDialogElement>("#dialog")?.close();
    toast(done.toast, done.state, done.undo);
    dispatchEvent(new CustomEvent("acted", { detail: done }));
  } else show(await response.text());
}

function post(url: string, body: FormData): Promise<Response> {
  return fetch(url, { method: "POST", body, headers: { "HX-Request": "true", "X-CSRFToken": document.body.dataset.csrf ?? "" }, credentials: "same-origin" });
}

/** A switch changes at once and goes back when the server says no. */
async function flip(form: HTMLFormElement): Promise<void> {
  const button = $(".sw", form);
  const field = form.elements.namedItem("paused") as HTMLInputElement;
  const pausing = field.value === "1";
  const set = (on: boolean): void => {
    button?.setAttribute("aria-checked", String(on));
    field.value = on ? "1" : "0";
  };
  const body = new FormData(form);
  set(!pausing);
  const response = await post(form.action, body).catch(() => null);
  const done = response?.headers.get("content-type")?.includes("json") ? ((await response.json()) as Done & { detail?: string }) : null;
  if (!response?.ok) set(pausing);
  toast(done?.toast ?? done?.detail ?? tr("The server did not answer. Nothing was changed."), response?.ok ? (done?.state ?? "success") : "failed", done?.undo, () => set(pausing));
}

/** The dialog's numbers again, for the choices as they are now. */
async function preview(form: HTMLFormElement | null): Promise<void> {
  const old = $("#clear-preview");
  if (!form || !old) return;
  const body = new FormData(form);
  body.delete("go");
  const response = await fetch(form.action, { method: "POST", body, headers: { "HX-Request": "true", "HX-Target": "clear-preview" }, credentials: "same-origin" });
  old.replaceWith(fragment(await response.text()));
  const fresh = $("#clear-preview");
  const go = $("#dlg-go");
  if (!go || !fresh || "fixed" in go.dataset) return;
  go.textContent = fresh.dataset.go ?? "";
  if (fresh.dataset.total === "0") go.setAttribute("aria-disabled", "true");
  else go.removeAttribute("aria-disabled");
}

/** A list with other filters; the address follows, so that it can be sent. */
async function filter(form: HTMLFormElement): Promise<void> {
  const target = form.dataset.filter ?? "";
  const params = new URLSearchParams();
  new FormData(form).forEach((value, name) => value && params.set(name, String(value)));
  const url = `${form.action.split("?")[0]}?${params}`;
  const html = await getHtml(url, { "HX-Request": "false" }).catch(() => null);
  if (html === null) return toast(tr("The list did not load; what you see is the old one."), "failed");
  const fresh = $(target, new DOMParser().parseFromString(html, "text/html"));
  const old = $(target);
  if (fresh && old) old.replaceChildren(...fresh.childNodes);
  history.replaceState(null, "", url);
  for (const link of $$<HTMLAnchorElement>("a[data-here]")) link.search = `?here=${encodeURIComponent(String(params))}`;
  for (const tab of $$<HTMLAnchorElement>(".tabs a[href^='?']")) {
    const q = new URLSearchParams(tab.getAttribute("href") ?? "");
    for (const name of ["q", "tag"]) {
      q.delete(name);
      if (params.has(name)) q.set(name, params.get(name)!);
    }
    tab.setAttribute("href", `?${q}`);
  }
}
