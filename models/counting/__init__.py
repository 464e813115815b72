"""Models that count: popularity, repeat, co-occurrence, and session neighbours."""
