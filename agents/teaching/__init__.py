"""Lessons of each task: what the embedded model is trained on."""
