"""Markup that every page repeats: glyphs, states, moments, mini-histograms, links to built files.

A strict content policy forbids style attributes, so whatever has a data-driven size is drawn as SVG.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import date, datetime
from typing import Any, cast

from django import template
from django.conf import settings
from django.template.loader import render_to_string
from django.templatetags.static import static
from django.urls import reverse
from django.utils import translation
from django.utils.html import escape, format_html, format_html_join
from django.utils.safestring import SafeString, mark_safe
from django.utils.translation import gettext as _

from apps.ui import assets, copyas, languages, outside, sentences, words

register = template.Library()
EMPTY: SafeString = mark_safe("")
LOOKS = {"theme": ("light", "dark"), "density": ("comfortable",)}
"""What a browser may have chosen, by the cookie's name; anything else is the default (the system's theme, compact rows)."""


def _use(css: str, href: str, attributes: SafeString) -> SafeString:
    return format_html('<svg class="{}" {}><use href="{}#{}"></use></svg>', css.strip(), attributes, assets.url("icons.svg"), href)


@register.simple_tag(takes_context=True)
def outside_links(context: dict[str, Any]) -> list[outside.Link]:
    """Links of plugins for the page that is shown (`outside`)."""
    match = getattr(context.get("request"), "resolver_match", None)
    return outside.links(match.kwargs if match else {}, context["request"].GET.get("map_index", "") if match else "")


@register.simple_tag
def i(name: str, css: str = "") -> SafeString:
    """An interface icon; always beside words or in a control that is named otherwise."""
    return _use(f"i {css}", f"i-{name}", mark_safe('aria-hidden="true"'))


@register.simple_tag
def g(state: str | None, css: str = "", label: bool = True) -> SafeString:
    """The glyph of a state; named for screen readers unless words follow (`label=False`)."""
    name = words.glyph(state)
    spoken = format_html('role="img" aria-label="{}"', words.label(state)) if label else mark_safe('aria-hidden="true"')
    return _use(f"g {css}", f"s-{name}", format_html('data-s="{}" {}', name, spoken))


@register.simple_tag
def st(state: str | None, text: str = "", pill: bool = False, css: str = "") -> SafeString:
    """Glyph and word of a state; `pill` is for the page's subject."""
    return format_html(
        '<span class="st {} {}" data-s="{}">{}{}</span>',
        "pill" if pill else "", css, words.glyph(state), g(state, label=False), text or words.label(state),
    )  # fmt: skip


@register.simple_tag
def when(value: datetime | None, zone: str | None = None, empty: str = "") -> SafeString | str:
    """Relative time; the absolute one in three zones is one hover or focus away. The shell keeps it current."""
    if value is None:
        return empty
    return format_html(
        '<time class="nowrap" datetime="{}" data-rel data-tip="{}" tabindex="0">{}</time>',
        value.isoformat(), words.full(value, zone), words.relative(value),
    )  # fmt: skip


@register.simple_tag
def at(value: datetime | None, zone: str | None = None, seconds: bool = False) -> SafeString | str:
    """Absolute time in the reader's zone, other zones on hover."""
    if value is None:
        return ""
    text = words.moment(value, seconds=True if seconds else None)
    return format_html(
        '<time class="nowrap" datetime="{}" data-tip="{}" tabindex="0">{}</time>', value.isoformat(), words.full(value, zone), text
    )


@register.simple_tag
def running_for(start: datetime | None, end: datetime | None) -> SafeString | str:
    """How long it took, or takes so far (then the shell counts on)."""
    if start is None:
        return ""
    if end is not None:
        return words.duration((end - start).total_seconds())
    from django.utils.timezone import now

    return format_html('<span data-since="{}">{}</span>', start.isoformat(), words.duration((now() - start).total_seconds()))


@register.filter
def duration(seconds: float | None) -> str:
    return words.duration(seconds)


@register.filter
def label(state: str | None) -> str:
    return words.label(state)


@register.filter
def said(state: str | None) -> str:
    return words.said(state)


@register.filter
def told(text: str | None) -> str:
    """A reason, an error or a refusal in the reader's language, as far as its sentences are known."""
    return sentences.told(text)


@register.filter
def day_of(value: date) -> str:
    return words.day_of(value)


@register.filter
def glyph(state: str | None) -> str:
    return words.glyph(state)


@register.filter
def moment(value: datetime | None) -> str:
    return words.moment(value) if value else ""


@register.filter
def number(value: int | None) -> str:
    return "" if value is None else words.number(value)


@register.filter
def by(run_type: str) -> str:
    return words.run_type(run_type)


@register.filter
def item(mapping: dict[Any, Any], key: Any) -> Any:
    return mapping.get(key)


@register.simple_tag
def switch(on: bool, label: str, disabled: bool = False) -> SafeString:
    """A switch; inside a form it submits."""
    return format_html(
        '<button type="submit" role="switch" class="sw" aria-checked="{}" aria-label="{}"{}></button>',
        "true" if on else "false", label, mark_safe(" disabled") if disabled else "",
    )  # fmt: skip


@register.simple_tag
def bars(runs: Sequence[dict[str, Any]], height: int = 22) -> SafeString:
    """Last runs, oldest first, each a link: height is duration (relative to the longest), a notch is failure, an outline is queued.

    One tab stop, the newest; `frontend/src/pages/bars.ts` moves inside and makes the hints of `data-r` (when, seconds). Widths are the
    style sheet's: a list has 1,400 of these.
    """
    if not runs:
        return EMPTY
    top = max((r["seconds"] or 0 for r in runs), default=0) or 1
    room, base = height - 4, reverse("run_short", args=[0])[:-1]
    shapes, named = [], {state: escape(words.label(state)) for state in {r["state"] for r in runs}}
    for k, run in enumerate(runs):
        state, tall = run["state"], max(3, round((run["seconds"] or 0) / top * room))
        y = height - tall
        inset = f' class="hollow" x="0.5" y="{y + 0.5}" height="{tall - 0.5}"' if state == "queued" else f' y="{y}" height="{tall}"'
        shape = f'<rect/><rect data-s="{words.glyph(state)}"{inset}/>'
        if state == "failed":
            shape += f'<rect data-s="failed" y="{y - 4}" height="2"/>'
        if state == "running":  # stripes: lines of the page's colour over the bar
            shape += "".join(f'<rect class="gap" y="{row}" height="2"/>' for row in range(y + 2, height, 4))
        ended = run["seconds"] is not None and state in ("success", "failed")  # what still grows would be old as soon as it is drawn
        seconds = f" {run['seconds']:.3g}" if ended else ""
        stop = "" if k == len(runs) - 1 else ' tabindex="-1"'
        about = f'data-r="{int(run["run_after"].timestamp())}{seconds}" aria-label="{named[state]}"{stop}'
        shapes.append(f'<a href="{base}{run["id"]}" {about} transform="translate({k * 7})">{shape}</a>')
    failed = sum(r["state"] == "failed" for r in runs)
    spoken = _("Last %(runs)s: %(failed)s failed") % {"runs": words.plural(len(runs), "run"), "failed": failed}
    return format_html(
        '<span class="bars" role="group" aria-label="{}"><svg width="{}" height="{}">{}</svg></span>',
        spoken, len(runs) * 7, height, mark_safe("".join(shapes)),  # noqa: S308
    )  # fmt: skip


@register.simple_tag
def share(counts: Iterable[tuple[str, int]]) -> SafeString:
    """One bar that shows how many of each state there are, success first."""
    counts = [(s, n) for s, n in counts if n]
    total = sum(n for _, n in counts) or 1
    left, parts = 0.0, []
    for state, n in counts:
        width = n / total * 100
        hollow = state in ("upstream_failed", "skipped", "none", "scheduled", "queued")
        extra = ' fill-opacity=".25"' if hollow else ""
        parts.append(f'<rect data-s="{words.glyph(state)}" x="{left:.3f}%" width="{max(width, 0.4):.3f}%" height="100%"{extra}/>')
        left += width
    spoken = ", ".join(f"{words.number(n)} {words.said(s)}" for s, n in counts) or _("no tasks")
    return format_html('<span class="prog" role="img" aria-label="{}"><svg>{}</svg></span>', spoken, mark_safe("".join(parts)))  # noqa: S308


@register.simple_tag
def asset(path: str) -> str:
    """URL of a hand-written static file, with its version."""
    return assets.url(path)


@register.simple_tag
def island(name: str) -> SafeString:
    """The built script (and styles) of one island; nothing when it was not built, pages read well without."""
    built = assets.island(name)
    if built is None:
        return EMPTY
    styles = format_html_join("", '<link rel="stylesheet" href="{}">', ((static(f"dist/{c}"),) for c in built.css))
    preload = format_html_join("", '<link rel="modulepreload" href="{}">', ((static(f"dist/{c}"),) for c in built.imports))
    return format_html('{}{}<script type="module" src="{}"></script>', styles, preload, static(f"dist/{built.file}"))


@register.simple_tag(takes_context=True)
def theme(context: template.Context) -> SafeString:
    """How this browser wants pages to look: `data-theme` and `data-density`, each when one was chosen (cookie, or `?theme=` and
    `?density=` for a single look).
    """
    chosen = {name: _look(context, name) for name in LOOKS}
    return format_html_join("", ' data-{}="{}"', ((name, value) for name, value in chosen.items() if value in LOOKS[name]))


def _look(context: template.Context, name: str) -> str:
    request = context.get("request")
    return (request.GET.get(name) or request.COOKIES.get(name, "")) if request else ""


@register.simple_tag(takes_context=True)
def roomy(context: template.Context) -> bool:
    """Whether rows are comfortable rather than compact."""
    return _look(context, "density") == "comfortable"


@register.simple_tag
def spoken() -> SafeString:
    """`lang` and `dir` of the page."""
    language = translation.get_language() or "en"
    return format_html('lang="{}" dir="{}"', language, "rtl" if translation.get_language_bidi() else "ltr")


@register.simple_tag
def words_script() -> SafeString:
    """The islands' words in the page's language; English needs none."""
    language = translation.get_language() or "en"
    if not languages.catalogue(language, "djangojs"):
        return EMPTY
    return format_html('<script src="{}"></script>', reverse("words", args=[language, languages.script(language)[1]]))


@register.simple_tag
def tongues() -> list[tuple[str, str, bool]]:
    """Languages to choose from: code, its own name, whether the page is in it. Empty when there is only one."""
    now = translation.get_language()
    return [(code, str(name), code == now) for code, name in settings.LANGUAGES] if len(settings.LANGUAGES) > 1 else []


@register.simple_tag(takes_context=True)
def query(context: template.Context, **changes: Any) -> str:
    """The current query string with some keys changed (None removes); pages are links, so filters live in URLs."""
    params = context["request"].GET.copy()
    for key, value in changes.items():
        if value in (None, ""):
            params.pop(key, None)
        else:
            params[key] = value
    return f"?{params.urlencode()}" if params else "?"


@register.simple_tag(takes_context=True)
def copy_as(context: template.Context) -> SafeString | str:
    """The menu with the page's calls as curl, Python and command line; nothing for a page without one."""
    return _copied(context, "ui/_copy_menu.html")


@register.simple_tag(takes_context=True)
def copy_as_now(context: template.Context) -> SafeString | str:
    """The calls for what a dialog's form says, when its "copy" button was pressed."""
    request = context.get("request")
    if request is None or not request.POST.get("copy"):
        return ""
    return format_html('<section class="copyas copynow">{}</section>', _copied(context, "ui/_copy_as.html"))


def _copied(context: template.Context, name: str) -> SafeString | str:
    request = context.get("request")
    if request is None or not (calls := copyas.of(request, cast("dict[str, Any]", context.flatten()))):
        return ""
    server = request.build_absolute_uri("/").rstrip("/")
    sames = [{"method": one.method, "path": one.path, "forms": one.forms(server)} for one in calls]
    return render_to_string(name, {"sames": sames, "buttons": not request.path.startswith("/admin/")})
