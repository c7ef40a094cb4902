"""`python -m smoothswap_jax` is the same as `smoothswap`."""

from smoothswap_jax.cli.main import main

if __name__ == "__main__":
    raise SystemExit(main())
