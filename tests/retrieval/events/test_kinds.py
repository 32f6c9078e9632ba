"""What settings say of kinds of events."""

from __future__ import annotations

import pytest

from rowbank.errors import InvalidRequest
from rowbank_server.retrieval.events.kinds import EventRules, check_kinds

RULES = EventRules.of(("view", "click", "purchase"), (), ())


def test_no_names_mean_all() -> None:
    assert RULES.history_kinds == RULES.seen_kinds == ("view", "click", "purchase")
    some = EventRules.of(("view", "click"), ("click",), ("view",))
    assert (some.history_kinds, some.seen_kinds) == (("click",), ("view",))
    with pytest.raises(ValueError, match=r"seen_kinds: expected kinds of event_kinds \(view, click\), got .buy."):
        EventRules.of(("view", "click"), (), ("buy",))


@pytest.mark.parametrize(
    "kinds", [("View",), ("1st",), ("a-b",), ("",), ("x" * 33,), ("a", "a"), tuple("abcdefghijklmnopq")]
)
def test_names_that_cannot_be_kinds(kinds: tuple[str, ...]) -> None:
    with pytest.raises(ValueError, match="expected"):
        check_kinds(kinds)


def test_the_kind_of_an_event() -> None:
    assert RULES.checked("", "kind") == "view"
    assert RULES.checked("purchase", "kind") == "purchase"
    with pytest.raises(
        InvalidRequest, match=r"events.3.kind: there are no events of kind 'purchas'; did you mean"
    ) as e:
        RULES.checked("purchas", "events.3.kind")
    assert e.value.metadata == {"field": "events.3.kind"}


def test_what_counts_as_seen() -> None:
    assert RULES.chosen(None, "exclude_seen") is None
    assert RULES.chosen(["click", "view", "click"], "exclude_seen") == ("click", "view")
    bought = EventRules.of(("view", "buy"), (), ("buy",))
    assert bought.chosen(None, "exclude_seen") == ("buy",)
    with pytest.raises(InvalidRequest, match=r"exclude_seen\.1"):
        RULES.chosen(["click", "buys"], "exclude_seen")
