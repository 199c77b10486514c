"""Figures: what the roll-ups and the deltas not folded yet add up to."""
