"""What files say of users and items in the columns of a schema."""

from rowbank_trainer.data.entities.assembling import Sheet, read_entities
from rowbank_trainer.data.entities.memory import MemorySource

__all__ = ["MemorySource", "Sheet", "read_entities"]
