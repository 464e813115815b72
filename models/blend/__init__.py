"""Models that combine other models: the ensemble."""
