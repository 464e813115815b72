"""Sessions as arrays: the vocabulary, sequences, batches, and context features."""
