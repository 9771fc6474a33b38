"""Registers the application in Entra: looks, plans, applies, and proves it by a token."""
