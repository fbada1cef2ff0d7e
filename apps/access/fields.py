"""A text column that is ciphertext in the database and plain text in Python."""

from __future__ import annotations

from typing import Any

from django.db import models

from apps.access.crypto import decrypt, encrypt


class EncryptedTextField(models.TextField):
    """Encrypts on the way in, decrypts on the way out. Cannot be searched."""

    def from_db_value(self, value: str | None, expression: Any, connection: Any) -> str | None:
        """Plain text; "" and null stay what they are."""
        return decrypt(value) if value else value

    def get_prep_value(self, value: Any) -> Any:
        """Ciphertext of a non-empty value."""
        value = super().get_prep_value(value)
        return encrypt(value) if value else value

    def get_lookup(self, lookup_name: str) -> Any:
        """Only null tests make sense on ciphertext."""
        return super().get_lookup(lookup_name) if lookup_name == "isnull" else None
