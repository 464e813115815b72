"""Decisions of shoppers about purposes: how the service follows them, honours them and records them."""
