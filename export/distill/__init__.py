"""From teachers to a student: what it learns from, and the run that teaches it."""
