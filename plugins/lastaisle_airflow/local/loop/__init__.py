"""The loop on one machine: simulated shoppers, what they saw and did, and the models that learn from it."""
