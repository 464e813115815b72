"""Models that read a session as a sequence: attention, GRU, Transformer, and hybrid."""
