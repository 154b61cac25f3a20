"""Hard negatives for pairs: what may be mined (`known`), what is near (`nearest`), what is kept (`window`).

`settings` holds the options and loads nothing heavy; `run` reads pairs, asks a method for negatives, writes.
"""
