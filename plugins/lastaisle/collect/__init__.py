"""The collector, a service: it receives Segment's calls over HTTP, and stores durable lines for ingestion."""
