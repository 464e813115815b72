"""The definitions of experiments and bandits: one YAML file each, and the trials that follow from them."""
