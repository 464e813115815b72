"""The steps of a release: a candidate is a shadow, then a canary, then the champion, each by rules."""
