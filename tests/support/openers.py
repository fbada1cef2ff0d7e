"""What opens something over a page, as a person does it, and waits until it is there.

For `test_accessibility`, which looks at each with axe. Each takes a page of the world that is seeded there.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from playwright.sync_api import Page


def key(pressed: str) -> Callable[[Page], None]:
    """A key of the keyboard map."""
    return lambda page: page.keyboard.press(pressed)


def click(selector: str) -> Callable[[Page], None]:
    """What is clicked."""
    return lambda page: page.click(selector)


def drawer(page: Page) -> None:
    page.wait_for_function("() => window.tracksideGrid?.model.runs.length > 0")
    page.focus(".gwrap")
    page.keyboard.press("f")
    page.wait_for_selector(".drawer h2")


def refused(page: Page) -> None:
    page.keyboard.press("t")
    page.fill("[name='param.rows']", "500")
    page.click("dialog button.pri")
    page.wait_for_selector("dialog [aria-invalid='true']")


def paused(page: Page) -> None:
    page.click("tr[data-dag='orders'] .sw")
    page.wait_for_selector(".toast button:has-text('Undo')")


def chosen(page: Page) -> None:
    page.check("input[name=dag][value=orders]")
    page.wait_for_selector(".bulk:has-text('1 chosen')")


def many(page: Page) -> None:
    chosen(page)
    page.click("text=Pause…")
    page.wait_for_selector(".dlgpage h2:has-text('Pause 1 DAG')")


def many_cleared(page: Page) -> None:
    chosen(page)
    page.click("text=Clear failed…")
    page.wait_for_selector(".dlgpage #dlg-go:has-text('Clear 3 tasks')")


def why(page: Page) -> None:
    page.click(".chain summary")


def surroundings(page: Page) -> None:
    page.wait_for_selector("#g .n[data-id='after:asset:orders.daily']")
    page.wait_for_selector("#g .n[data-id='after:dag:waiting']")
    page.focus("#g a.n[data-id='a']")


def run_drawer(page: Page) -> None:
    page.wait_for_function("() => window.tracksideGrid?.model.runs.length > 0")
    page.focus(".gwrap")
    page.keyboard.press("Home")
    page.keyboard.press("ArrowUp")
    page.keyboard.press("Enter")
    page.wait_for_selector(".drawer h2")


def found(page: Page) -> None:
    page.keyboard.press("Control+k")
    page.keyboard.type("ord")
    page.wait_for_selector("dialog[open] [role='option']:has-text('orders')")


def advanced(page: Page) -> None:
    page.keyboard.press("t")
    page.click("dialog details summary")


def done(page: Page) -> None:
    page.keyboard.press("c")
    page.click("dialog #dlg-go")
    page.wait_for_selector(".toast button:has-text('Undo')")


def hint(page: Page) -> None:
    page.focus("[data-act=zone]")
    page.keyboard.press("Shift+Tab")
    page.keyboard.press("Tab")
    page.wait_for_selector(".tip:not([hidden])")


def saved_views(page: Page) -> None:
    page.click("text=Views…")
    page.fill("dialog [name=name]", "What failed")
    page.click("dialog button.pri")
    page.wait_for_selector(".toast:has-text('What failed')")
    page.click("text=Views…")
    page.wait_for_selector("dialog a:has-text('What failed')")
