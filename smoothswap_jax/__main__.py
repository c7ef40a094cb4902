"""`python -m smoothswap_jax` is the same as `smoothswap`."""

from smoothswap_jax.main import main

if __name__ == "__main__":
    raise SystemExit(main())
