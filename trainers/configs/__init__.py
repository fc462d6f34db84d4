"""One file an experiment, in the form of `ml_collections` config flags."""
