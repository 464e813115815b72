"""The rows of one batch in a temporary database: typed, judged, and compared with the rows before."""
