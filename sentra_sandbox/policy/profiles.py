"""Finds seccomp profiles: those that come with the package, by name, and files, by path.

Rules of this file: light imports only, it runs at every start. Profiles are data in ``seccomp_profiles/``: in a
checkout at the top level, in an installed package inside it.
"""

from __future__ import annotations

import os

from sentra_sandbox.errors import PolicyError

TYPE_CHECKING = False  # type checkers take it for true; loading typing or pathlib takes 4 to 7 ms
if TYPE_CHECKING:
    from pathlib import Path

_PACKAGE = os.path.dirname(os.path.dirname(os.path.realpath(__file__)))


def profiles_directory() -> str:
    """Where the package's own profiles are. Raises ``PolicyError`` if the installation lacks them."""
    for directory in (f"{_PACKAGE}/seccomp_profiles", f"{os.path.dirname(_PACKAGE)}/seccomp_profiles"):
        if os.path.isfile(f"{directory}/default.json"):
            return directory
    raise PolicyError(
        f"The seccomp profiles of sentra-sandbox are missing from its installation ({_PACKAGE}).",
        "Install it again with 'pip install --force-reinstall sentra-sandbox'.",
    )


def profile_names() -> list[str]:
    """The names of the package's own profiles, sorted."""
    return sorted(name[:-5] for name in os.listdir(profiles_directory()) if name.endswith(".json"))


def find_profile(name_or_path: str) -> Path:
    """The file of a profile: ``default``, ``strict``, ``offline``, ``none`` or a path.

    Anything with a slash or ending in ``.json`` is a path. Raises ``PolicyError`` if there is no such file or name.
    """
    from pathlib import Path

    return Path(profile_file(name_or_path))


def profile_file(name_or_path: str) -> str:
    """``find_profile`` for a start, which has no time to load pathlib."""
    if "/" in name_or_path or name_or_path.endswith(".json"):
        if not os.path.isfile(name_or_path):
            raise PolicyError(
                f"There is no seccomp profile file {name_or_path}.",
                f"Check the path, or use one of the built-in profiles: {', '.join(profile_names())}.",
            )
        return name_or_path
    path = f"{profiles_directory()}/{name_or_path}.json"
    if not name_or_path or not os.path.isfile(path):
        is_file = bool(name_or_path) and os.path.isfile(name_or_path)
        hint = f" (write ./{name_or_path} for the file of that name)" if is_file else ""
        raise PolicyError(
            f"There is no seccomp profile named {name_or_path!r}.",
            f"There are {', '.join(profile_names())}; or give the path of a JSON file{hint}.",
        )
    return path
