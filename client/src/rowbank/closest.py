"""What a misspelt word was probably meant to be."""

from __future__ import annotations

import difflib
from collections.abc import Iterable


def closest(word: str, known: Iterable[str], *, cutoff: float = 0.6) -> str | None:
    """The one of `known` that looks most like `word`; None if none looks like it."""
    by_folded = {name.casefold(): name for name in known}
    found = difflib.get_close_matches(word.casefold(), by_folded, n=1, cutoff=cutoff)
    return by_folded[found[0]] if found else None


def closest_first(word: str, known: Iterable[str]) -> list[str]:
    """All of `known`, those that look most like `word` first, the rest by name."""

    def distance(name: str) -> tuple[float, str]:
        ratio = difflib.SequenceMatcher(None, word.casefold(), name.casefold()).ratio()
        return (-ratio if ratio >= 0.6 else 0.0, name)

    return sorted(known, key=distance)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """The end of a sentence about a word that is not known: "; did you mean X?", or nothing."""
    found = closest(word, known)
    return f"; did you mean {found}?" if found else ""


def listed(names: Iterable[str], *, most: int = 10) -> str:
    """Names with commas, as many as `most`, and how many more there are."""
    every = list(names)
    more = len(every) - most
    shown = ", ".join(every[:most])
    return f"{shown} and {more} more" if more > 0 else shown or "none"
