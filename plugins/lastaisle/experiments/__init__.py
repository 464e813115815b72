"""Who sees what: the arms of experiments, canaries and bandits, and what they tell."""
