"""HTTP: what the collector and the service share, so that both bound and refuse requests alike."""
