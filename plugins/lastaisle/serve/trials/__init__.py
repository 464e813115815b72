"""What running trials (experiments, bandits, the canary) do with the requests that the service gets."""
