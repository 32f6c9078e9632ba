"""A small shop whose users and items have columns of every type, with gaps."""

from __future__ import annotations

from typing import Any

import numpy as np

from rowbank.text import title_keys, token_key
from rowbank_trainer.data.dataset import Catalogue, Dataset, Entities, Interactions, KeyLists
from rowbank_trainer.schema.spec import Column, Schema, Side, TableOptions

USERS, ITEMS, GROUPS = 60, 40, 4
NEWCOMER = 777  # A user whom only the file knows.
COLOURS = ("red", "green", "blue", "black")
WORDS = ("old", "new", "big", "small", "round")


def schema(**changes: Any) -> Schema:
    """Every type of column; histories and related items share the table of item ids."""
    user = Side(
        (
            Column("user_id", "id", table="user"),
            Column("colour", "categorical", table="colour"),
            Column("age", "numeric"),
            Column("likes", "categorical", table="group", many=True, length=2),
            Column("met", "history", table="item", length=5),
        )
    )
    item = Side(
        (
            Column("item_id", "id", table="item"),
            Column("group", "categorical", table="group"),
            Column("price", "numeric", scale="log"),
            Column("words", "text", table="words", length=3, default="plain"),
            Column("related", "related", table="item", length=3),
        )
    )
    tables = {"colour": TableOptions(dim=3), "group": TableOptions(dim=4), "words": TableOptions(dim=5)}
    return Schema(**{"user": user, "item": item, "tables": tables, **changes})


def shop() -> Dataset:
    """60 users who like one of four groups of ten items each; every fifth value is missing."""
    rng = np.random.default_rng(11)
    users = np.repeat(np.arange(1, USERS + 1), 25)
    items = 100 + (users % GROUPS) * 10 + rng.integers(0, 10, len(users))
    astray = rng.random(len(users)) < 0.2
    items[astray] = 100 + rng.integers(0, ITEMS, astray.sum())
    pairs = np.unique(np.stack([users, items]), axis=1)
    users, items = pairs[:, rng.permutation(pairs.shape[1])]
    interactions = Interactions(
        users, items, np.ones(len(users), np.float32), 1_700_000_000 + rng.permutation(len(users)).astype(np.int64)
    )
    ids = np.arange(100, 100 + ITEMS)
    catalogue = Catalogue(ids, tuple(map(str, ids)), ((),) * ITEMS, (0,) * ITEMS, titled=False)
    return Dataset("shop", interactions, catalogue, users=_users(rng), items=_items(ids, rng))


def _users(rng: np.random.Generator) -> Entities:
    ids = np.append(np.arange(1, USERS + 1)[::2], NEWCOMER)  # Of the others nothing is known.
    colours = [None if place % 5 == 4 else COLOURS[user % 4] for place, user in enumerate(ids)]
    ages = [
        None if place % 5 == 3 else float(20 + 10 * (user % 4) + rng.integers(0, 5)) for place, user in enumerate(ids)
    ]
    likes = [None if place % 5 == 2 else [int(user % 4)] * (1 + place % 3) for place, user in enumerate(ids)]
    return Entities(
        ids,
        {"colour": lists([[] if colour is None else [token_key(colour)] for colour in colours]),
         "likes": lists([like or [] for like in likes])},
        {"age": np.array([np.nan if age is None else age for age in ages], np.float32)},
        {"colour": colours, "age": ages, "likes": likes},
        {"colour": "string", "age": "double", "likes": "int64_list"},
    )  # fmt: skip


def _items(ids: np.ndarray, rng: np.random.Generator) -> Entities:
    groups = [None if place % 5 == 4 else place // 10 for place in range(ITEMS)]
    prices = [None if place % 5 == 3 else float(np.exp(rng.normal() + place // 10)) for place in range(ITEMS)]
    words = [None if place % 5 == 2 else " ".join(rng.choice(WORDS, 1 + place % 4)) for place in range(ITEMS)]
    return Entities(
        ids,
        {"group": lists([[] if group is None else [group] for group in groups]),
         "words": lists([words_of(text) for text in words])},
        {"price": np.array([np.nan if price is None else price for price in prices], np.float32)},
        {"group": groups, "price": prices, "words": words},
        {"group": "int64", "price": "double", "words": "string"},
    )  # fmt: skip


def words_of(text: str | None) -> list[int]:
    """Keys of the first three words, of the default where there is no text."""
    return [int(key) for key in title_keys(["plain" if text is None else text], 3)[0] if key]


def lists(values: list[list[int]]) -> KeyLists:
    """Lists as arrays."""
    starts = np.cumsum([0, *map(len, values)])
    return KeyLists(np.array([key for one in values for key in one], np.int64), starts.astype(np.int64))
