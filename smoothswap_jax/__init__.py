"""Smooth-Swap face swapping in JAX/Flax."""
