"""The reasoning loop: think, draw, critique, revise."""
