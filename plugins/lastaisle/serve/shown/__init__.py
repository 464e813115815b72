"""What may be shown: the catalogue that is followed, filters of requests, and rules of the shop."""
