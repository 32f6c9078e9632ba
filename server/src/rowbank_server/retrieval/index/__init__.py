"""Indexes of item vectors: how the best of them are found."""

from rowbank_server.retrieval.index.bitmaps import bitmap
from rowbank_server.retrieval.index.exact import ExactIndex
from rowbank_server.retrieval.index.protocol import Bonus, Index, Kind

__all__ = ["Bonus", "ExactIndex", "Index", "Kind", "bitmap"]
