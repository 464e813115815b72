"""How this worker answers: its counts by version and arm, and the table that keeps them."""
