"""The two Jinja environments of `templating`, apart so that only processes that render import jinja2."""

from __future__ import annotations

from typing import Any

from jinja2.nativetypes import NativeEnvironment as _Native
from jinja2.sandbox import SandboxedEnvironment, is_internal_attribute


class TextEnvironment(SandboxedEnvironment):
    """Templates that give text."""

    is_native = False

    def is_safe_attribute(self, obj: Any, attr: str, value: Any) -> bool:
        """`_name` is allowed (unlike Jinja's own sandbox), what Python uses internally is not."""
        return not is_internal_attribute(obj, attr)


class NativeEnvironment(TextEnvironment, _Native):
    """Templates that give Python objects."""

    is_native = True
