"""A trained swapper as a folder for others: weights, programs and a model card that need no code of this package."""
