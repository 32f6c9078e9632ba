"""Which version of a model a user gets while traffic is split.

A user's place is a function of the model and the user alone, the same in every process and on every machine, so the
analysis of an experiment can work it out again from ids.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field

from rowbank.text import token_key

_PLACES = 2**63


@dataclass(frozen=True, slots=True)
class Traffic:
    """Who gets which version of a model.

    Attributes:
        shares: of the users, 0 to 1, by version; together at most 1. What is left is the active version's. 0: the
            version is loaded, for requests that name it.
        shadow: a version that is asked the same in the background, and whose answers are only compared; "": none.
        active: the active version, in answers; ignored where traffic is set.
    """

    shares: Mapping[str, float] = field(default_factory=dict)
    shadow: str = ""
    active: str = ""


def place(model: str, user: int | str) -> float:
    """Where a user stands in the split of a model: from 0, below 1.

    It is `token_key("<model>/<user's key>") / 2**63`, where the key of a user whose id is a text is `token_key` of it,
    and `token_key` is `rowbank.text.token_key`.
    """
    key = token_key(user) if isinstance(user, str) else user
    return token_key(f"{model}/{key}") / _PLACES


def version_of(model: str, user: int | str, traffic: Traffic) -> str:
    """The version that a user gets.

    In the order of their names, each version has the places from where the one before it ends, as many as its share;
    the active one has the rest.
    """
    at, end = place(model, user), 0.0
    for version in sorted(traffic.shares):
        end += traffic.shares[version]
        if at < end:
            return version
    return traffic.active
