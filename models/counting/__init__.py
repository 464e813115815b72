"""Models that count: popularity, co-occurrence, and session neighbours."""
