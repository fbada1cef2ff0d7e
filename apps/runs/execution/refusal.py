"""How the execution API says no."""

from __future__ import annotations


class Refused(Exception):
    """A call that changed nothing: status and a sentence."""

    def __init__(self, status: int, detail: str):
        self.status = status
        self.detail = detail
        super().__init__(detail)
