"""Building blocks of the models: encoder blocks, losses, the optimizer, and limits of a warm start."""
