"""The audit of privacy: one page a month that says what holds, and first what does not."""
