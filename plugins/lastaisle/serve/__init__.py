"""The service: it answers requests for recommendations over HTTP, and takes what shoppers did with them."""
