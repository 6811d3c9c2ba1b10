"""The Stable Diffusion route: a LoRA draws label maps, a ControlNet paints images for them (after Label Freedom)."""
