"""Features of users and items in Redis, in Feast's online-store layout."""

from rowbank_server.features.layers import LayeredView
from rowbank_server.features.reading import FeatureRead, FeatureStatus
from rowbank_server.features.store import FeatureStore
from rowbank_server.features.values import FeatureData, FeatureType
from rowbank_server.features.views import FeatureField, FeatureView

__all__ = [
    "FeatureData",
    "FeatureField",
    "FeatureRead",
    "FeatureStatus",
    "FeatureStore",
    "FeatureType",
    "FeatureView",
    "LayeredView",
]
