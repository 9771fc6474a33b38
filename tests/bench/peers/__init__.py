"""The same job done by others: all alerts of the tenant into the sink, each under its own id.

None of them joins, remembers or tells versions apart; they only move records.
"""
