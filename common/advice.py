"""How to say in an error that a setting would help, so that it can be done where the error is read: by the user of a fleet, who
writes brigade.toml, and by that of `brigade sync`, who gives options.
"""

from __future__ import annotations


def set_option(name: str, value: str) -> str:
    """To set an option of one end of a route. `value` is a text; true and false stand as they are."""
    written = value if value in ("true", "false") else f'"{value}"'
    return (
        f"set {name} = {written} in the options of this end of the route "
        f"(brigade sync: --source-option {name}={value} or --destination-option {name}={value})"
    )


ANONYMOUS = f"who shows no identity may not do this there: {set_option('anonymous', 'false')}, and give credentials"
"""Of a refusal that no role of ours can cure."""
