"""The server's methods, each with the types of its request and answer.

The generated stubs say the same without types, and build every method of a service when one is needed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Generic, TypeVar

from rowbank.calls import wire
from rowbank_protos.v1 import (
    admin_pb2,
    deltas_pb2,
    diagnosis_pb2,
    features_pb2,
    insight_pb2,
    models_pb2,
    rows_pb2,
    snapshots_pb2,
    tables_pb2,
    tokens_pb2,
    workers_pb2,
)

# Messages: protobuf's, or those of `wire`, which have the same methods.
Q = TypeVar("Q")
A = TypeVar("A")


@dataclass(frozen=True, slots=True)
class Method(Generic[Q, A]):
    """A method of a service of package rowbank.v1."""

    service: str
    name: str
    request: type[Q]
    answer: type[A]

    @property
    def path(self) -> str:
        """As gRPC addresses it."""
        return f"/rowbank.v1.{self.service}/{self.name}"


PULL = Method("RowService", "Pull", rows_pb2.PullRequest, wire.PullAnswer)
PUSH = Method("RowService", "Push", wire.PushMessage, rows_pb2.PushResponse)
LOOKUP = Method("RowService", "Lookup", rows_pb2.LookupRequest, wire.LookupAnswer)
UPSERT = Method("RowService", "Upsert", wire.UpsertMessage, rows_pb2.UpsertResponse)
ACCUMULATE = Method("RowService", "Accumulate", rows_pb2.AccumulateRequest, rows_pb2.AccumulateResponse)
STORE = Method("RowService", "Store", wire.StoreMessage, rows_pb2.StoreResponse)
REMOVE = Method("RowService", "Remove", rows_pb2.RemoveRequest, rows_pb2.RemoveResponse)
CLEAR = Method("RowService", "Clear", rows_pb2.ClearRequest, rows_pb2.ClearResponse)
SIZE = Method("RowService", "Size", rows_pb2.SizeRequest, rows_pb2.SizeResponse)
TOUCH = Method("RowService", "Touch", rows_pb2.TouchRequest, rows_pb2.TouchResponse)
EXPORT = Method("RowService", "Export", rows_pb2.ExportRequest, rows_pb2.ExportResponse)
IMPORT = Method("RowService", "Import", rows_pb2.ImportRequest, rows_pb2.ImportResponse)

CREATE_TABLE = Method("TableService", "CreateTable", tables_pb2.CreateTableRequest, tables_pb2.CreateTableResponse)
GET_TABLE = Method("TableService", "GetTable", tables_pb2.GetTableRequest, tables_pb2.GetTableResponse)
LIST_TABLES = Method("TableService", "ListTables", tables_pb2.ListTablesRequest, tables_pb2.ListTablesResponse)
UPDATE_TABLE = Method("TableService", "UpdateTable", tables_pb2.UpdateTableRequest, tables_pb2.UpdateTableResponse)
DROP_TABLE = Method("TableService", "DropTable", tables_pb2.DropTableRequest, tables_pb2.DropTableResponse)
HOLD_TABLES = Method("TableService", "HoldTables", tables_pb2.HoldTablesRequest, tables_pb2.HoldTablesResponse)
RELEASE_TABLES = Method(
    "TableService", "ReleaseTables", tables_pb2.ReleaseTablesRequest, tables_pb2.ReleaseTablesResponse
)
LIST_HOLDERS = Method("TableService", "ListHolders", tables_pb2.ListHoldersRequest, tables_pb2.ListHoldersResponse)

RESTRICT = Method("AdminService", "Restrict", admin_pb2.RestrictRequest, admin_pb2.RestrictResponse)
PREVIEW_EVICTION = Method("AdminService", "PreviewEviction", admin_pb2.RestrictRequest, admin_pb2.RestrictResponse)
RANK_ROWS = Method("AdminService", "RankRows", admin_pb2.RankRowsRequest, admin_pb2.RankRowsResponse)
LIST_EVICTIONS = Method(
    "AdminService", "ListEvictions", admin_pb2.ListEvictionsRequest, admin_pb2.ListEvictionsResponse
)
GET_STATS = Method("AdminService", "GetStats", admin_pb2.GetStatsRequest, admin_pb2.GetStatsResponse)
DESCRIBE_ROW = Method("AdminService", "DescribeRow", admin_pb2.DescribeRowRequest, admin_pb2.DescribeRowResponse)
TOP_ROWS = Method("AdminService", "TopRows", admin_pb2.TopRowsRequest, admin_pb2.TopRowsResponse)
GET_SERVER_INFO = Method(
    "AdminService", "GetServerInfo", admin_pb2.GetServerInfoRequest, admin_pb2.GetServerInfoResponse
)
GET_HEALTH = Method("DiagnosisService", "GetHealth", diagnosis_pb2.GetHealthRequest, diagnosis_pb2.GetHealthResponse)
DIAGNOSE = Method("DiagnosisService", "Diagnose", diagnosis_pb2.DiagnoseRequest, diagnosis_pb2.DiagnoseResponse)
CREATE_TOKEN = Method("TokenService", "CreateToken", tokens_pb2.CreateTokenRequest, tokens_pb2.CreateTokenResponse)
LIST_TOKENS = Method("TokenService", "ListTokens", tokens_pb2.ListTokensRequest, tokens_pb2.ListTokensResponse)
REVOKE_TOKEN = Method("TokenService", "RevokeToken", tokens_pb2.RevokeTokenRequest, tokens_pb2.RevokeTokenResponse)
SIMULATE_EVICTION = Method(
    "InsightService",
    "SimulateEviction",
    insight_pb2.SimulateEvictionRequest,
    insight_pb2.SimulateEvictionResponse,
)
EXPLAIN_ROW = Method("InsightService", "ExplainRow", insight_pb2.ExplainRowRequest, insight_pb2.ExplainRowResponse)
COUNT_FREQUENCIES = Method(
    "InsightService",
    "CountFrequencies",
    insight_pb2.CountFrequenciesRequest,
    insight_pb2.CountFrequenciesResponse,
)
GET_ADVICE = Method("InsightService", "GetAdvice", insight_pb2.GetAdviceRequest, insight_pb2.GetAdviceResponse)
FLUSH = Method("AdminService", "Flush", admin_pb2.FlushRequest, admin_pb2.FlushResponse)

FOLLOW = Method("DeltaService", "Follow", deltas_pb2.FollowRequest, deltas_pb2.FollowResponse)
LIST_FOLLOWERS = Method(
    "DeltaService", "ListFollowers", deltas_pb2.ListFollowersRequest, deltas_pb2.ListFollowersResponse
)

BEGIN_SNAPSHOT = Method(
    "SnapshotService", "BeginSnapshot", snapshots_pb2.BeginSnapshotRequest, snapshots_pb2.BeginSnapshotResponse
)
RESUME_MUTATIONS = Method(
    "SnapshotService", "ResumeMutations", snapshots_pb2.ResumeMutationsRequest, snapshots_pb2.ResumeMutationsResponse
)
READ_SNAPSHOT = Method("SnapshotService", "ReadSnapshot", snapshots_pb2.ReadSnapshotRequest, rows_pb2.ExportResponse)
FREEZE_TABLE = Method(
    "SnapshotService", "FreezeTable", snapshots_pb2.FreezeTableRequest, snapshots_pb2.FreezeTableResponse
)
END_SNAPSHOT = Method(
    "SnapshotService", "EndSnapshot", snapshots_pb2.EndSnapshotRequest, snapshots_pb2.EndSnapshotResponse
)

JOIN_GROUP = Method("WorkerService", "Join", workers_pb2.JoinGroupRequest, workers_pb2.GroupState)
ADVANCE = Method("WorkerService", "Advance", workers_pb2.AdvanceRequest, workers_pb2.GroupState)
LEAVE_GROUP = Method("WorkerService", "Leave", workers_pb2.LeaveGroupRequest, workers_pb2.LeaveGroupResponse)

PUBLISH_MODEL = Method("ModelService", "PublishModel", models_pb2.PublishModelRequest, models_pb2.PublishModelResponse)
LIST_MODELS = Method("ModelService", "ListModels", models_pb2.ListModelsRequest, models_pb2.ListModelsResponse)
GET_MODEL = Method("ModelService", "GetModel", models_pb2.GetModelRequest, models_pb2.GetModelResponse)
ACTIVATE_MODEL = Method(
    "ModelService", "ActivateModel", models_pb2.ActivateModelRequest, models_pb2.ActivateModelResponse
)
GET_MODEL_TRAFFIC = Method("ModelService", "GetTraffic", models_pb2.GetModelTrafficRequest, models_pb2.ModelTraffic)
SET_MODEL_TRAFFIC = Method("ModelService", "SetTraffic", models_pb2.ModelTraffic, models_pb2.ModelTraffic)
PRUNE_MODELS = Method("ModelService", "PruneModels", models_pb2.PruneModelsRequest, models_pb2.PruneModelsResponse)
READ_MODEL_FILE = Method("ModelService", "ReadModelFile", models_pb2.ReadModelFileRequest, models_pb2.FileChunk)

PUT_VIEW = Method("FeatureService", "PutView", features_pb2.PutViewRequest, features_pb2.PutViewResponse)
LIST_VIEWS = Method("FeatureService", "ListViews", features_pb2.ListViewsRequest, features_pb2.ListViewsResponse)
WRITE_FEATURES = Method(
    "FeatureService", "WriteFeatures", features_pb2.WriteFeaturesRequest, features_pb2.WriteFeaturesResponse
)
WRITE_COLUMNS = Method(
    "FeatureService", "WriteColumns", features_pb2.WriteColumnsRequest, features_pb2.WriteColumnsResponse
)
READ_FEATURES = Method(
    "FeatureService", "ReadFeatures", features_pb2.ReadFeaturesRequest, features_pb2.ReadFeaturesResponse
)
DROP_VIEW = Method("FeatureService", "DropView", features_pb2.DropViewRequest, features_pb2.DropViewResponse)
LIST_ENTITIES = Method(
    "FeatureService", "ListEntities", features_pb2.ListEntitiesRequest, features_pb2.ListEntitiesResponse
)
