"""The bound of a copy's age, with clocks that differ, and that are set meanwhile."""

from __future__ import annotations

import pytest

from rowbank_server.ps.following.ages import AgeBound


def test_the_owners_clock_is_compared_with_itself_alone():
    bound = AgeBound(asked=100.0, first_ms=5_000_000)  # Hours away from this process's.
    assert bound.until(5_000_250, came=100.30) == pytest.approx(100.249)
    assert bound.until(5_001_000, came=101.02) == pytest.approx(100.999)


def test_a_bound_is_never_later_than_the_truth():
    """The owner was asked at 100, made its greeting at 100.05, and says it made a message 1 s later, at 101.05."""
    bound = AgeBound(asked=100.0, first_ms=0)
    until = bound.until(1_000, came=101.1)
    assert until is not None
    assert until <= 101.05


def test_a_clock_that_is_set_forward_makes_nothing_younger():
    bound = AgeBound(asked=100.0, first_ms=0)
    bound.until(1_000, came=101.01)
    assert bound.until(61_200, came=101.21) == pytest.approx(100.999)  # Set forward by a minute before it was made.
    assert bound.until(61_400, came=101.41) == pytest.approx(101.198)


def test_a_clock_that_is_set_back_does_not_age_the_copy_for_good():
    bound = AgeBound(asked=100.0, first_ms=100_000)
    bound.until(101_000, came=101.01)
    assert bound.until(41_200, came=101.21) == pytest.approx(100.999)
    assert bound.until(41_400, came=101.41) == pytest.approx(101.198)


def test_what_is_not_known_yet_says_nothing():
    bound = AgeBound(asked=100.0, first_ms=5_000)
    assert bound.until(0, came=100.1) is None
    assert bound.until(3_000, came=100.2) == pytest.approx(97.999)  # A backlog: done before this process asked.
    assert bound.until(5_300, came=100.4) == pytest.approx(100.299)


def test_the_bound_never_falls():
    bound = AgeBound(asked=100.0, first_ms=0)
    first = bound.until(500, came=100.6)
    assert bound.until(499, came=100.61) == first
