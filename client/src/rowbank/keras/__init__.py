"""Keras layers on Rowbank tables: rows and their optimizer live on the server, `fit` works unchanged.

    layer = rowbank.keras.Embedding(rowbank.TableSpec("user", dim=64, optimizer=rowbank.Adam(0.001)))

docs/keras.md shows a whole model.
"""

from rowbank.keras.accumulation import accumulated_gradients
from rowbank.keras.distinct import DistinctEmbedding
from rowbank.keras.embedding import Embedding, SquashedEmbedding
from rowbank.keras.fieldwise import FieldwiseEmbedding
from rowbank.keras.mixed_dimension import MDEmbedding
from rowbank.keras.partial import PartialRemoteEmbedding
from rowbank.keras.quotient_remainder import QREmbedding
from rowbank.keras.remote import RemoteEmbedding
from rowbank.keras.remote_model import RemoteModel
from rowbank.keras.serving import ServingEmbedding
from rowbank.keras.unified import UnifiedEmbedding, UnifiedEmbeddingConfig
from rowbank.remote import Batch, FeatureConfig, Ragged, Sparse, TableConfig

__all__ = [
    "Batch",
    "DistinctEmbedding",
    "Embedding",
    "FeatureConfig",
    "FieldwiseEmbedding",
    "MDEmbedding",
    "PartialRemoteEmbedding",
    "QREmbedding",
    "Ragged",
    "RemoteEmbedding",
    "RemoteModel",
    "ServingEmbedding",
    "Sparse",
    "SquashedEmbedding",
    "TableConfig",
    "UnifiedEmbedding",
    "UnifiedEmbeddingConfig",
    "accumulated_gradients",
]
