"""Features of users and items in Redis, in Feast's online-store layout."""

from rowbank_server.features.store import FeatureRead, FeatureStatus, FeatureStore
from rowbank_server.features.values import FeatureData, FeatureType
from rowbank_server.features.views import FeatureField, FeatureView

__all__ = ["FeatureData", "FeatureField", "FeatureRead", "FeatureStatus", "FeatureStore", "FeatureType", "FeatureView"]
