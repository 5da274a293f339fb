"""Bench: what a frame costs, compared with another build, other programs and the floor."""
