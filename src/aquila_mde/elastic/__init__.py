"""Everything that speaks to Elasticsearch or OpenSearch, and nothing that knows of Defender."""
