"""Reads from Microsoft only: sign-in, HTTP with quotas and retries, paging, export files."""
