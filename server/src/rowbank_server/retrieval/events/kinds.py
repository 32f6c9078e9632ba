"""Kinds of events, and what each of them counts for."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from rowbank.closest import did_you_mean
from rowbank.errors import InvalidRequest
from rowbank_server import wording

_KIND = re.compile(r"[a-z][a-z0-9_]{0,31}")
MAX_KINDS = 16


def check_kinds(kinds: Sequence[str]) -> None:
    """Refuses names that cannot be kinds. Raises ValueError."""
    for kind in kinds:
        if not _KIND.fullmatch(kind):
            raise ValueError(f"expected kinds of 1 to 32 characters of a-z 0-9 _, a letter first, got {kind[:40]!r}")
    if len(set(kinds)) < len(kinds) or len(kinds) > MAX_KINDS:
        raise ValueError(f"expected at most {MAX_KINDS} kinds, each once, got {', '.join(kinds)[:200]}")


@dataclass(frozen=True, slots=True)
class EventRules:
    """What the settings say.

    Attributes:
        kinds: those there are; an event that names none is of the first.
        history_kinds: those whose items go into histories, which feed the query tower.
        seen_kinds: those whose items count as seen where a query does not say it; all of `kinds`: the whole history.
    """

    kinds: tuple[str, ...]
    history_kinds: tuple[str, ...]
    seen_kinds: tuple[str, ...]

    @classmethod
    def of(cls, kinds: Sequence[str], history_kinds: Sequence[str], seen_kinds: Sequence[str]) -> EventRules:
        """Of settings, where none means all.

        Raises:
            ValueError: one names a kind that there is not.
        """
        for name, some in (("history_kinds", history_kinds), ("seen_kinds", seen_kinds)):
            for kind in some:
                if kind not in kinds:
                    raise ValueError(
                        f"setting {name}: expected kinds of event_kinds ({', '.join(kinds)}), got {kind!r}"
                    )
        return cls(tuple(kinds), tuple(history_kinds or kinds), tuple(seen_kinds or kinds))

    def checked(self, kind: str, where: str) -> str:
        """The kind of an event; "" is the first.

        Raises:
            InvalidRequest: there is none of that name.
        """
        if not kind:
            return self.kinds[0]
        if kind not in self.kinds:
            hint = did_you_mean(kind[:64], self.kinds)
            known = ", ".join(self.kinds)
            raise InvalidRequest(
                f"{where}: there are no events of kind {wording.show(kind)}{hint}{'' if hint else ';'} kinds: {known} "
                "(setting event_kinds)",
                metadata={"field": where},
            )
        return kind

    def chosen(self, kinds: Sequence[str] | None, where: str) -> tuple[str, ...] | None:
        """The kinds that count as seen for a query; None: all of the history does.

        Args:
            kinds: those that the query names; None: it leaves it to the settings.
        Raises:
            InvalidRequest: one is no kind.
        """
        if kinds is not None:
            return tuple(dict.fromkeys(self.checked(kind, f"{where}.{place}") for place, kind in enumerate(kinds)))
        return None if set(self.seen_kinds) == set(self.kinds) else self.seen_kinds
