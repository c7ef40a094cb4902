"""HTML pages from Jinja templates. Jinja2 is an optional dependency, so it is imported when a page is made."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from importlib import resources
from types import MappingProxyType
from typing import Any


def render_page(
    package: str,
    template: str,
    values: Mapping[str, Any],
    *,
    user: str,
    extra: str,
    filters: Mapping[str, Callable[..., Any]] = MappingProxyType({}),
) -> str:
    """The page that the file `template` in `package` makes of `values`.

    All values are escaped, and a name that the template uses and `values` lacks is an error.

    Args:
      user, extra: what needs Jinja2, and the extra of ours that brings it: for the error.
      filters: further functions that the template may apply, by name.

    Raises ImportError if Jinja2 is missing.
    """
    try:
        import jinja2
    except ImportError as error:
        raise ImportError(f'{user} needs jinja2: pip install "smoothswap-jax[{extra}]"') from error
    text = resources.files(package).joinpath(template).read_text("utf-8")
    environment = jinja2.Environment(
        autoescape=True, undefined=jinja2.StrictUndefined, trim_blocks=True, lstrip_blocks=True
    )
    environment.filters.update(filters)
    return environment.from_string(text).render(values)
