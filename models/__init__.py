"""The models: vocabulary, sequences, one architecture a file, metrics, and what services load."""
