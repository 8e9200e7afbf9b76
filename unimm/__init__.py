"""Unified multimodal models behind one interface: text in, pictures in, text out, pictures out."""
