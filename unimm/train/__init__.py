"""Training STAR in stages: VQ, understanding base, stacked drawing layers, unified tuning of drawing and editing."""
