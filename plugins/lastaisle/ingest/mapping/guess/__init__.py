"""Guess a first mapping from the first lines of a file, by the names of its values and by the values."""
