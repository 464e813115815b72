"""The artifact that services load, and how it is packed."""
