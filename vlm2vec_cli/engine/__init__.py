"""The packed engine: pixels, prompts and tokens of many inputs in one unpadded forward pass."""
