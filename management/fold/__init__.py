"""Committed facts become labels, conversions and roll-ups: the only writer of all three."""
