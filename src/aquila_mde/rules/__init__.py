"""The detection rules: what a rule says, what it asks an engine, and what is wrong in its file."""
