"""A small data set in the layout of MovieLens 100k, made up, for commands of the docs that name one."""

from __future__ import annotations

import random
from pathlib import Path

USERS, ITEMS, RATINGS, GENRES = 120, 160, 40, 19


def write(folder: Path) -> None:
    """Writes `u.data`, `u.item` and `u.user`; ids from 1, each user with ratings of one half of the items mostly."""
    folder.mkdir()
    chance = random.Random(7)
    ratings = []
    for user in range(1, USERS + 1):
        for place in range(RATINGS):
            item = 1 + (
                2 * chance.randrange(ITEMS // 2) + user % 2 if chance.random() < 0.9 else chance.randrange(ITEMS)
            )
            ratings.append(f"{user}\t{item}\t{chance.randint(1, 5)}\t{880_000_000 + 1000 * place + user}")
    (folder / "u.data").write_text("\n".join(ratings) + "\n")
    items = []
    for item in range(1, ITEMS + 1):
        genres = "|".join(str(int(genre in (1 + item % 9, 8))) for genre in range(GENRES))
        year = 1980 + item % 19
        items.append(f"{item}|{['Old', 'New'][item % 2]} Film {item} ({year})|01-Jan-{year}|||{genres}")
    (folder / "u.item").write_text("\n".join(items) + "\n", encoding="latin-1")
    users = [
        f"{user}|{20 + user % 40}|{'FM'[user % 2]}|{['student', 'artist', 'lawyer'][user % 3]}|{10000 + user}"
        for user in range(1, USERS + 1)
    ]
    (folder / "u.user").write_text("\n".join(users) + "\n")
