"""The worlds and the policies of the benchmark of bandits."""
