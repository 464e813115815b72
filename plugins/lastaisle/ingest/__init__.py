"""Session logs in, raw_events and quarantine out: every row accounted for, exactly once."""
