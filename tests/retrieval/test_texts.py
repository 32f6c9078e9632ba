"""Many strings in two arrays, taken out by their places."""

from __future__ import annotations

import numpy as np
import pytest

from rowbank_server._core import texts_at
from rowbank_server.retrieval.columns import Texts

TEXTS = ["", "plain", "äöü", "", "\U0001f600 and \0", "last"]


def test_texts_at_places() -> None:
    """In the order of the places, any of them more than once; of no places there are none."""
    texts = Texts.of(TEXTS)
    places = np.array([5, 0, 4, 2, 2, 1, 3])
    assert texts.at(places) == [TEXTS[place] for place in places.tolist()]
    assert texts.at(places[::2]) == [TEXTS[place] for place in places[::2].tolist()]
    assert texts.at(places[:0]) == []
    assert Texts.of([]).at(places[:0]) == []


@pytest.mark.parametrize("place", [-1, 6])
def test_places_that_there_are_not(place: int) -> None:
    """They are refused by their number."""
    with pytest.raises(ValueError, match=f"places: expected 0 to 6, got {place}"):
        Texts.of(TEXTS).at(np.array([0, place]))


@pytest.mark.parametrize("ends", [[3, 2], [-1, 2], [2, 9], [-5, -3]])
def test_ends_that_are_out_of_order(ends: list[int]) -> None:
    """As in a damaged file: nothing beyond the data is read."""
    data = np.frombuffer(b"abcd", np.uint8)
    with pytest.raises(ValueError, match="ends: expected ascending ends within the data"):
        texts_at(data, np.array(ends), np.array([1]))


def test_bytes_that_are_no_text() -> None:
    """They are an error, not another text."""
    with pytest.raises(UnicodeDecodeError):
        texts_at(np.array([0xFF], np.uint8), np.array([1]), np.array([0]))
