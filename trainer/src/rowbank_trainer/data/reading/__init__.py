"""Files of tables as Arrow columns, whatever their kind: which columns they have, and where each row is in the file."""

from rowbank_trainer.data.reading.opening import open_source
from rowbank_trainer.data.reading.source import Source

__all__ = ["Source", "open_source"]
