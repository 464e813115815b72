"""Drops of the shop: whether CTR, conversion and the like are below the same hours of past weeks."""
