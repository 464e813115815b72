"""The Delta tables: their names, their partitions, and appends that happen exactly once."""

from lastaisle.lake.lake import Lake, LakeConflictError

__all__ = ["Lake", "LakeConflictError"]
