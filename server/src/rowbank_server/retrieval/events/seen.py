"""Which items count as seen by a user, of the kinds of events that a query names.

Besides a history, a user's view keeps a list per kind of event, which the recording of events fills. What the model was
trained on has no kinds: it counts as seen whatever is named. In a version's own layer that is all there is; where
callers write the only layer, it is what stands in the history and in no list.
"""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from rowbank.tower_keys import HISTORY
from rowbank_server.features import FeatureRead, LayeredView
from rowbank_server.features.views import SEEN_PREFIX


def seen_features(users: LayeredView) -> list[str]:
    """The features that `seen_items` needs to have been read, besides the history.

    Raises:
        ViewNotFound, InvalidFeature: as of `LayeredView.definition`.
    """
    return [field.name for field in users.definition().fields if field.name.startswith(SEEN_PREFIX)]


def seen_items(users: LayeredView, read: FeatureRead, kinds: Sequence[str]) -> list[int]:
    """Items that a user has seen, of these kinds of events, besides what the model was trained on."""
    chosen = {item for kind in kinds for item in _list(read.values, SEEN_PREFIX + kind)}
    if users.overlay:
        return [*_list(read.base, HISTORY), *chosen]
    others = {
        item for name in read.values if name.startswith(SEEN_PREFIX) for item in _list(read.values, name)
    } - chosen
    return [*(item for item in _list(read.values, HISTORY) if item not in others), *chosen]


def _list(values: Any, name: str) -> list[int]:
    held = values.get(name, ())
    return held if isinstance(held, list) else []
