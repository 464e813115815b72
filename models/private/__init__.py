"""Private training: what a training released of its shoppers, and what that spends of a privacy budget."""
