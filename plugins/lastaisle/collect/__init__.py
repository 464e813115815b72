"""A collector that services run: Segment's calls in over HTTP, durable lines out for ingestion."""
