"""The statistics of experiments: estimates, intervals for any number of looks, and the sample ratio."""
