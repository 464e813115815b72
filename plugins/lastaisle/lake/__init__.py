"""The Delta tables: their names, their partitions, and appends that happen exactly once."""

from lastaisle.lake.errors import LakeConflictError
from lastaisle.lake.lake import Lake
from lastaisle.lake.query import Query

__all__ = ["Lake", "LakeConflictError", "Query"]
