"""Config files, with overrides from the command line."""


def load_config(path: str, overrides: list[str]) -> dict:
    """A config file with `--config.field=value` overrides, as plain nested dicts.

    Raises ValueError naming the file or the field that does not fit.
    """
    from absl import flags
    from ml_collections import config_flags

    values = flags.FlagValues()
    arguments = ["smoothswap", f"--config={path}", *overrides]
    config_flags.DEFINE_config_file("config", flag_values=values, sys_argv=arguments)
    try:
        left = values(arguments)[1:]
    except (flags.Error, AttributeError, KeyError, TypeError, FileNotFoundError) as error:
        # ml_collections puts a traceback into its messages; the reason is their last line.
        reason = str(error).strip().splitlines()[-1].strip()
        raise ValueError(f"--config={path}: {reason}") from error
    if left:
        raise ValueError(f"unrecognised arguments: {' '.join(left)}")
    return values.config.to_dict()
