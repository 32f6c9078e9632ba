"""The commonest body, a user and how many items, read without pydantic.

What is read here is read as `RecommendBody` reads it. All else is none of these: it goes there, and so do its faults.
"""

from __future__ import annotations

from typing import Annotated

import msgspec

from rowbank.text import id_fault
from rowbank_server.retrieval.api.schemas.fields import BIG, MAX_K
from rowbank_server.retrieval.queries import DEFAULT_K


class PlainRecommend(msgspec.Struct, frozen=True, forbid_unknown_fields=True, gc=False):
    """Items for a stored user, with everything else left out."""

    user_id: Annotated[int, msgspec.Meta(ge=-(2**63), le=2**63 - 1)] | str
    k: Annotated[int, msgspec.Meta(ge=1, le=MAX_K)] = DEFAULT_K


_decoder = msgspec.json.Decoder(PlainRecommend)


def plain_recommend(content: bytes) -> PlainRecommend | None:
    """The body, if it is such a one and without fault; None: nothing is said of it."""
    if len(content) > BIG:  # Nobody waits for what is read beside the event loop.
        return None
    try:
        body = _decoder.decode(content)
    except (msgspec.MsgspecError, ValueError):
        return None
    return None if isinstance(body.user_id, str) and id_fault(body.user_id) else body
