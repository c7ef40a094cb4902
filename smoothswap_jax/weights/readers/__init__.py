"""Reading published weight files that may be damaged or hostile: `checkpoint.read_checkpoint` is the way in.

No file is ever handed to a loader that can run code or that allocates what a header merely claims.
"""
