"""What a tower takes of features, keys and numbers, made the same way in training and in serving."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

from rowbank import siphash
from rowbank.manifests import BucketKey, KeyRule, QuotientKey, TowerInput
from rowbank.text import token_key, tokens

HISTORY = "history"  # What users met grows at its end; of other lists the first ones count.
_FLOAT32_END = 3.4028235677973366e38  # Half a step beyond the largest float32: from here a number rounds to infinity.


@dataclass(frozen=True, slots=True, eq=False)
class Keys:
    """The keys of B entities for one input.

    Attributes:
        keys: [B] or [B, length] int64, `pad_key` where there is none.
        there: of the same shape, bool: False is padding and reads zeros (what the table holds, if `kind` is ""). With a
            rule, `keys` alone does not tell: a rule may make a key of a table that equals `pad_key`.
    """

    keys: npt.NDArray[np.int64]
    there: npt.NDArray[np.bool_]


@dataclass(frozen=True, slots=True, eq=False)
class Numbers:
    """The numbers of B entities for one input.

    Attributes:
        values: [B, dim] float32, zeros where there are none.
        there: [B] bool.
        unusable: [B] bool: there was something, but not `dim` finite numbers.
    """

    values: npt.NDArray[np.float32]
    there: npt.NDArray[np.bool_]
    unusable: npt.NDArray[np.bool_]


def counts_newest(tower_input: TowerInput) -> bool:
    """Whether the last ones of a list that is too long count: if the input says so, or takes a feature "history"."""
    return tower_input.newest or tower_input.feature.rpartition(":")[2] == HISTORY


def input_keys(tower_input: TowerInput, values: Sequence[Any]) -> Keys:
    """The keys under which an input's rows are found.

    Padding is what a list lacks up to `length`, an integer that equals `pad_key` (before the input's rule), an empty
    text, and a value that is not there. An entity's own id is a key, whatever it is.

    Args:
        tower_input: of any kind but "numbers".
        values: a value per entity, as the kind says: integers or lists of them, or texts or lists of them; None: there
            is none.
    """
    listed = _listed(tower_input, values)
    counts = np.fromiter(map(len, listed), np.int64, len(listed))
    there = np.arange(tower_input.length or 1) < counts[:, None]
    flat = list(itertools.chain.from_iterable(listed))
    if tower_input.kind in ("keys", ""):
        made, real = _of_integers(np.asarray(flat, dtype=np.int64), tower_input)
    else:
        made, real = _of_texts(flat, tower_input.rule)
    keys = np.full(there.shape, tower_input.pad_key, dtype=np.int64)
    keys[there] = np.where(real, made, tower_input.pad_key)
    there[there] = real
    return Keys(keys, there) if tower_input.length else Keys(keys[:, 0], there[:, 0])


def input_numbers(tower_input: TowerInput, values: Sequence[Any]) -> Numbers:
    """The numbers of an input of kind "numbers".

    Args:
        values: per entity a number, a truth value or a list of `dim` numbers; None: there is none.
    """
    dim, count = tower_input.dim, len(values)
    wide = [value if isinstance(value, (list, tuple, np.ndarray)) else (value,) for value in values]
    given = np.fromiter((value is not None for value in values), np.bool_, count)
    fits = given & np.fromiter((len(value) == dim for value in wide), np.bool_, count)
    flat = list(itertools.chain.from_iterable(itertools.compress(wide, fits)))
    numbers = np.zeros((count, dim), np.float64)
    numbers[fits] = np.asarray(flat, dtype=np.float64).reshape(-1, dim)
    there = fits & (np.abs(numbers) < _FLOAT32_END).all(axis=1)  # False for NaN, too.
    numbers[~there] = 0.0
    return Numbers(numbers.astype(np.float32), there, given & ~there)


def _listed(tower_input: TowerInput, values: Sequence[Any]) -> list[Sequence[Any]]:
    """Each entity's integers or texts, none of them beyond the input's length."""
    length = tower_input.length
    if tower_input.kind == "words":
        return [() if value is None else tokens(value)[:length] for value in values]
    if not length:
        return [() if value is None else (value,) for value in values]
    if counts_newest(tower_input):
        return [() if value is None else value[-length:] for value in values]
    return [() if value is None else value[:length] for value in values]


def _of_integers(keys: npt.NDArray[np.int64], part: TowerInput) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Keys by the input's rule, and whether each is one."""
    rule = part.rule
    may_pad = part.length or (part.kind and ":" in part.feature)
    real = keys != part.pad_key if may_pad else np.ones(len(keys), np.bool_)
    if isinstance(rule, BucketKey):
        distinct, inverse = np.unique(keys, return_inverse=True)
        return _bucketed(siphash.hash_integers(distinct, rule.salt), rule)[inverse], real
    return _divided(keys, rule), real


def _of_texts(texts: list[str], rule: KeyRule | None) -> tuple[npt.NDArray[np.int64], npt.NDArray[np.bool_]]:
    """Keys by a rule, and whether each is one: an empty text has none."""
    distinct = list(dict.fromkeys(texts))
    if isinstance(rule, BucketKey):
        keys = _bucketed(siphash.hash_texts([text.encode() for text in distinct], rule.salt), rule)
    else:
        keys = _divided(np.fromiter(map(token_key, distinct), np.int64, len(distinct)), rule)
    position: Callable[[str], int] = {text: at for at, text in enumerate(distinct)}.__getitem__
    made = keys[np.fromiter(map(position, texts), np.int64, len(texts))]
    return made, np.fromiter(map(bool, texts), np.bool_, len(texts))


def _divided(keys: npt.NDArray[np.int64], rule: KeyRule | None) -> npt.NDArray[np.int64]:
    if rule is None or isinstance(rule, BucketKey):
        return keys
    if isinstance(rule, QuotientKey):
        return 2 * (keys // rule.divisor)
    return 2 * (keys % rule.divisor) + 1


def _bucketed(hashes: npt.NDArray[np.uint64], rule: BucketKey) -> npt.NDArray[np.int64]:
    return (hashes % np.uint64(rule.buckets)).astype(np.int64) + rule.first
