"""The text for the public of a version: what it learned from, for how long data stays, how to refuse."""
