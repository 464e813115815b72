"""What shoppers saw and did: exposures, their outcomes, and the figures of the shop."""
