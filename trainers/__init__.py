"""Programs: train, evaluate, sample. Thin; everything they do is in `tfdvae`."""
