"""Indexes of item vectors: how the best of them are found."""

from rowbank_server.retrieval.index.choice import IndexOptions, make_index
from rowbank_server.retrieval.index.exact import ExactIndex
from rowbank_server.retrieval.index.files import ArrayFileError, MappedArrays, map_arrays, write_arrays
from rowbank_server.retrieval.index.inverted import BuildOptions, InvertedIndex
from rowbank_server.retrieval.index.protocol import Bonus, Index, Kind
from rowbank_server.retrieval.index.saving import load_index, save_index

__all__ = [
    "ArrayFileError",
    "Bonus",
    "BuildOptions",
    "ExactIndex",
    "Index",
    "IndexOptions",
    "InvertedIndex",
    "Kind",
    "MappedArrays",
    "load_index",
    "make_index",
    "map_arrays",
    "save_index",
    "write_arrays",
]
