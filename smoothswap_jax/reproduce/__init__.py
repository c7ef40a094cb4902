"""`smoothswap reproduce`: the claims of the paper, tried where the truth is known."""
