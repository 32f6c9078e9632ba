"""The schema of a job without one: users by id and perhaps by what they met, items by the words of a title or by id.

Importing this must stay cheap: it happens before TensorFlow is loaded.
"""

from __future__ import annotations

from rowbank_trainer.data.dataset import Catalogue
from rowbank_trainer.errors import UsageError
from rowbank_trainer.schema.spec import Column, Schema, Side
from rowbank_trainer.two_tower.config import TwoTowerConfig

ITEM_TABLE = "item"  # Also where its keys are words; the table's name on a server says which.


def default_schema(catalogue: Catalogue, config: TwoTowerConfig) -> Schema:
    """What settings and data ask for.

    Raises:
        UsageError: there are to be histories of items that are known by their titles.
    """
    if config.history and catalogue.titled:
        raise UsageError(
            "--history takes items that are known by their ids, and these are known by the words of their titles; give "
            "the data as --interactions or --train without --items, or leave out --history"
        )
    users = [Column("user_id", "id", table="user", weight=1.0 - config.history_weight if config.history else 1.0)]
    if config.history:
        users.append(
            Column("history", "history", table=ITEM_TABLE, length=config.history, weight=config.history_weight)
        )
    item = (
        Column("title", "text", table=ITEM_TABLE, length=config.max_tokens)
        if catalogue.titled
        else Column("item_id", "id", table=ITEM_TABLE)
    )
    return Schema(Side(tuple(users), "mean"), Side((item,), "mean"))
