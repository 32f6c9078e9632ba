"""The methods of RetrievalService."""

from __future__ import annotations

from rowbank.calls.methods import Method
from rowbank_protos.v1 import retrieval_pb2 as pb

_SERVICE = "RetrievalService"

RECOMMEND = Method(_SERVICE, "Recommend", pb.RecommendRequest, pb.RecommendResponse)
RECOMMEND_BATCH = Method(_SERVICE, "RecommendBatch", pb.RecommendBatchRequest, pb.RecommendBatchResponse)
SIMILAR_ITEMS = Method(_SERVICE, "SimilarItems", pb.SimilarItemsRequest, pb.RecommendResponse)
SCORE = Method(_SERVICE, "Score", pb.ScoreRequest, pb.ScoreResponse)
EMBED = Method(_SERVICE, "Embed", pb.EmbedRequest, pb.EmbedResponse)
POPULAR = Method(_SERVICE, "Popular", pb.PopularRequest, pb.RecommendResponse)

GET_ITEM = Method(_SERVICE, "GetItem", pb.GetEntityRequest, pb.GetItemResponse)
UPSERT_ITEMS = Method(_SERVICE, "UpsertItems", pb.UpsertEntitiesRequest, pb.UpsertEntitiesResponse)
DELETE_ITEM = Method(_SERVICE, "DeleteItem", pb.DeleteItemRequest, pb.DeleteItemResponse)
GET_USER = Method(_SERVICE, "GetUser", pb.GetEntityRequest, pb.GetUserResponse)
UPSERT_USERS = Method(_SERVICE, "UpsertUsers", pb.UpsertEntitiesRequest, pb.UpsertEntitiesResponse)
RECORD_EVENTS = Method(_SERVICE, "RecordEvents", pb.RecordEventsRequest, pb.RecordEventsResponse)

LIST_SERVED_MODELS = Method(_SERVICE, "ListServedModels", pb.ListServedModelsRequest, pb.ListServedModelsResponse)
ACTIVATE_VERSION = Method(_SERVICE, "ActivateVersion", pb.ActivateVersionRequest, pb.ActivateVersionResponse)
ROLL_BACK = Method(_SERVICE, "RollBack", pb.RollBackRequest, pb.ActivateVersionResponse)
GET_TRAFFIC = Method(_SERVICE, "GetTraffic", pb.GetTrafficRequest, pb.Traffic)
SET_TRAFFIC = Method(_SERVICE, "SetTraffic", pb.SetTrafficRequest, pb.Traffic)

LIST_FILTERS = Method(_SERVICE, "ListFilters", pb.ListFiltersRequest, pb.ListFiltersResponse)
PUT_FILTER = Method(_SERVICE, "PutFilter", pb.PutFilterRequest, pb.PutFilterResponse)
DELETE_FILTER = Method(_SERVICE, "DeleteFilter", pb.DeleteFilterRequest, pb.DeleteFilterResponse)
PROBE_INDEX = Method(_SERVICE, "ProbeIndex", pb.ProbeIndexRequest, pb.ProbeIndexResponse)
