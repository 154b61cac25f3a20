"""Contrastive training: pairs in, a checkpoint folder out. `run` is the way in; this file loads nothing."""
