"""``dataclass`` for what ``exec`` needs before and after the program runs: the same in use, cheaper to define.

The standard module costs 7 ms to load (it imports inspect) and 0.7 ms per class, which every recorded program would
wait for. Here a class costs 0.1 ms. Type checkers see the standard decorator. At run time the standard functions
(``dataclasses.replace``, ``asdict``, ``fields``) work on the classes too: what they ask for is made when they ask.

Only what is used here exists: ``frozen``, ``slots`` (always both), defaults, ``factory`` for a default that is made
anew for each object, ``__post_init__``.
"""

from __future__ import annotations

from _operator import attrgetter

TYPE_CHECKING = False  # type checkers take it for true; loading typing takes 4 ms
if TYPE_CHECKING:
    from collections.abc import Callable
    from dataclasses import dataclass as dataclass
    from dataclasses import replace as replace
    from typing import Any, TypeVar

    T = TypeVar("T")

    def factory(make: Callable[[], T]) -> T: ...
    def as_dict(value: object) -> dict[str, Any]: ...

else:

    class factory:
        """The default of a field that is made anew for each object."""

        __slots__ = ("make",)

        def __init__(self, make):
            self.make = make

    def dataclass(*, frozen, slots):
        """A class whose annotations are its fields: frozen, with slots, compared by value."""
        assert frozen and slots
        return _made

    def as_dict(value):
        """Names and values of the fields; the values as they are, not copied."""
        return {name: getattr(value, name) for name in value._names}

    def replace(value, /, **changes):
        """A copy of ``value`` with some fields changed."""
        return type(value)(**{**as_dict(value), **changes})


def _made(cls: type) -> type:
    own = tuple(cls.__annotations__)
    members = {name: value for name, value in vars(cls).items() if name not in ("__dict__", "__weakref__")}
    inherited: tuple[str, ...] = getattr(cls, "_names", ())
    names = (*inherited, *own)
    defaults = {**getattr(cls, "_defaults", {}), **{name: members.pop(name) for name in own if name in members}}
    make = _constructor(names, defaults, "__post_init__" in members)
    methods = (make, __repr__, __eq__, __hash__, __setattr__, __delattr__, __getstate__, __setstate__)
    members = {method.__name__: method for method in methods} | members
    members |= {"__slots__": own, "__match_args__": names, "_names": names, "_defaults": defaults}
    members |= {"__dataclass_fields__": _Fields(), "_key": staticmethod(attrgetter(*names))}
    return type(cls)(cls.__name__, cls.__bases__, members)


def _constructor(names: tuple[str, ...], defaults: dict[str, Any], after: bool) -> Any:
    """``__init__`` as source, compiled: objects are made as quickly as the standard module makes them."""
    values = {name: f"_{name}.make() if {name} is _{name} else {name}" for name in names}
    parameters = [f"{name}=_{name}" if name in defaults else name for name in names]
    body = [
        f" _set(self, '{name}', {values[name] if type(defaults.get(name)) is factory else name})" for name in names
    ]
    if after:
        body.append(" self.__post_init__()")
    space = {"_set": object.__setattr__, **{f"_{name}": value for name, value in defaults.items()}}
    exec("\n".join([f"def __init__(self, {', '.join(parameters)}):", *body]), space)
    return space["__init__"]


def __repr__(self: Any) -> str:
    return f"{type(self).__qualname__}({', '.join(f'{name}={getattr(self, name)!r}' for name in self._names)})"


def __getstate__(self: Any) -> tuple[Any, ...]:
    return tuple(getattr(self, name) for name in self._names)


def __setstate__(self: Any, state: tuple[Any, ...]) -> None:
    for name, value in zip(self._names, state, strict=True):
        object.__setattr__(self, name, value)


def __eq__(self: Any, other: object) -> bool:
    return self._key(self) == self._key(other) if type(other) is type(self) else NotImplemented  # type: ignore


def __hash__(self: Any) -> int:
    return hash(self._key(self))


def __setattr__(self: Any, name: str, value: object) -> None:
    raise AttributeError(f"cannot assign to field '{name}' of {type(self).__name__}: it is frozen")


def __delattr__(self: Any, name: str) -> None:
    raise AttributeError(f"cannot delete field '{name}' of {type(self).__name__}: it is frozen")


class _Fields:
    """What the standard module keeps in ``__dataclass_fields__``, made when it is asked for."""

    def __get__(self, instance: object, owner: Any) -> dict[str, Any]:
        import dataclasses

        defaults = {
            name: dataclasses.field(default_factory=value.make) if type(value) is factory else value
            for name, value in owner._defaults.items()
        }
        space = {"__annotations__": dict.fromkeys(owner._names, object), **defaults}
        made: dict[str, Any] = dataclasses.dataclass(type(owner.__name__, (), space)).__dataclass_fields__  # type: ignore
        owner.__dataclass_fields__ = made
        return made
