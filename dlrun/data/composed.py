"""Texts in one form of Unicode, so that equal ones are equal whatever system wrote them."""

from __future__ import annotations

import unicodedata


def composed(text: str) -> str:
    """A text in Unicode's composed form (NFC): macOS writes é as e and an accent."""
    return text if text.isascii() else unicodedata.normalize("NFC", text)
