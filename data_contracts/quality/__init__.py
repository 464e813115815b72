"""What the entries under a `quality` mean: rules of a row, and rules of a batch as a whole."""
