"""Sessions and windows of sessions, made from the table `events`."""
