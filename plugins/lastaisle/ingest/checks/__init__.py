"""What a batch as a whole must satisfy before it is committed."""
