"""Rhythm rules: what must be noticed within seconds, found without a model, a quarter of a second at a time."""
