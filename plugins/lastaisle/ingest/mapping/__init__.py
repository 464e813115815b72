"""A mapping: a YAML file that says how a shop's own logs become canonical events, without code."""
