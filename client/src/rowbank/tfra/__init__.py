"""Rowbank behind TensorFlow Recommenders Addons: one changed line puts a model's dynamic tables on the server.

    from tensorflow_recommenders_addons import dynamic_embedding as de
    import rowbank.tfra

    layer = de.keras.layers.Embedding(64, name="user", kv_creator=rowbank.tfra.TableCreator("127.0.0.1:7700"))

docs/tfra.md says what each method of a table does.
"""

from rowbank.tfra import calls as _calls  # noqa: F401 - several lookups of a layer in a step need it
from rowbank.tfra import remaking as _remaking  # noqa: F401 - loaded graphs need it
from rowbank.tfra.creator import TableCreator
from rowbank.tfra.policies import FrequencyRestrictPolicy, TimestampRestrictPolicy
from rowbank.tfra.table import RemoteTable

__all__ = ["FrequencyRestrictPolicy", "RemoteTable", "TableCreator", "TimestampRestrictPolicy"]
