"""Looks whether everything that the collector needs is there, and says what to do if not."""
