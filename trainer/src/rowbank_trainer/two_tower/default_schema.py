"""The schema of a job without one: users by id and perhaps by what they met, items by the words of a title or by id and
perhaps by what the same users met.

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
        UsageError: there are to be histories or related items, of items that are known by their titles.
    """
    for name in ("history", "related"):
        if getattr(config, name) and catalogue.titled:
            raise UsageError(
                f"--{name} takes items that are known by their ids, and these are known by the words of their titles; "
                f"give the data as --interactions or --train without --items, or leave out --{name}"
            )
    users = [Column("user_id", "id", table="user", weight=1.0 - config.history_weight if config.history else 1.0)]
    if config.history:
        users.append(
            Column("history", "history", table=ITEM_TABLE, length=config.history, weight=config.history_weight)
        )
    if catalogue.titled:
        items = [Column("title", "text", table=ITEM_TABLE, length=config.max_tokens)]
    else:
        own = 1.0 - config.related_weight if config.related else 1.0
        items = [Column("item_id", "id", table=ITEM_TABLE, weight=own)]
    if config.related:
        items.append(
            Column("related", "related", table=ITEM_TABLE, length=config.related, weight=config.related_weight)
        )
    return Schema(Side(tuple(users), "mean"), Side(tuple(items), "mean"))
