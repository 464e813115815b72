"""A simulated year of a shop: its hourly figures, 500 versions with their evaluations, and 50 experiments."""
