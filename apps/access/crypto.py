"""Encryption of secrets at rest: MultiFernet over TRACKSIDE_FERNET_KEYS (newest first), never SECRET_KEY."""

from __future__ import annotations

from functools import cache

from cryptography.fernet import Fernet, InvalidToken, MultiFernet
from django.conf import settings


class WrongKey(Exception):
    """A stored secret cannot be decrypted: none of TRACKSIDE_FERNET_KEYS made it. Put the old key back (after the new one)."""

    def __init__(self) -> None:
        super().__init__(self.__doc__)


@cache
def _fernet(keys: tuple[str, ...]) -> MultiFernet:
    return MultiFernet([Fernet(k) for k in keys])


def encrypt(text: str) -> str:
    """Ciphertext (`v1:` and a Fernet token) of `text`, with the newest key."""
    return "v1:" + _fernet(tuple(settings.FERNET_KEYS)).encrypt(text.encode()).decode()


def decrypt(stored: str) -> str:
    """Inverse of `encrypt`; raises WrongKey."""
    try:
        return _fernet(tuple(settings.FERNET_KEYS)).decrypt(stored.removeprefix("v1:").encode()).decode()
    except InvalidToken as e:
        raise WrongKey from e


def rotate(stored: str) -> str:
    """The same secret under the newest key; raises WrongKey."""
    try:
        return "v1:" + _fernet(tuple(settings.FERNET_KEYS)).rotate(stored.removeprefix("v1:").encode()).decode()
    except InvalidToken as e:
        raise WrongKey from e


def is_current(stored: str) -> bool:
    """Whether the newest key wrote it."""
    try:
        _fernet(tuple(settings.FERNET_KEYS[:1])).decrypt(stored.removeprefix("v1:").encode())
    except InvalidToken:
        return False
    return True
