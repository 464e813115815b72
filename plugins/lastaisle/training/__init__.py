"""Windows of sessions in event time, and training on them."""
