"""Our quick ``dataclass`` behaves as the standard one, also towards the standard module's functions."""

from __future__ import annotations

import copy
import dataclasses
import pickle

import pytest

from sentra_sandbox.dataclass import as_dict, dataclass, factory, replace


@dataclass(frozen=True, slots=True)
class Point:
    """Two numbers."""

    x: int
    y: int = 2
    tags: dict[str, int] = factory(dict)

    @property
    def total(self) -> int:
        return self.x + self.y


@dataclass(frozen=True, slots=True)
class Named(Point):
    name: str = "origin"


def test_construction() -> None:
    assert (Point(1).x, Point(1).y, Point(1, 5).y, Point(x=3).total) == (1, 2, 5, 5)
    assert Point(1).tags == {} and Point(1).tags is not Point(1).tags
    assert Named(1, name="a").name == "a" and Named(1).total == 3 and isinstance(Named(1), Point)


@pytest.mark.parametrize(("values", "named"), [((), {}), ((1, 2, {}, 4), {}), ((1,), {"x": 2}), ((1,), {"unknown": 2})])
def test_wrong_arguments(values: tuple[int, ...], named: dict[str, int]) -> None:
    with pytest.raises(TypeError):
        Point(*values, **named)  # type: ignore[arg-type]


def test_frozen_and_small() -> None:
    point = Point(1)
    with pytest.raises(AttributeError, match="frozen"):
        point.x = 2  # type: ignore[misc]
    with pytest.raises(AttributeError):
        del point.x
    assert not hasattr(point, "__dict__")


def test_by_value() -> None:
    assert Point(1) == Point(1, 2) != Point(2) and Point(1) != Named(1)
    assert repr(Point(1)) == "Point(x=1, y=2, tags={})" and Point.__doc__ == "Two numbers."
    for same in (copy.copy(Named(1)), copy.deepcopy(Named(1)), pickle.loads(pickle.dumps(Named(1)))):
        assert same == Named(1)
    match Point(7):
        case Point(x, y):
            assert (x, y) == (7, 2)


def test_ours_and_the_standard_functions() -> None:
    assert replace(Named(1), y=9) == Named(1, 9) == dataclasses.replace(Named(1), y=9)
    assert as_dict(Named(1)) == dataclasses.asdict(Named(1)) == {"x": 1, "y": 2, "tags": {}, "name": "origin"}
    assert [field.name for field in dataclasses.fields(Named)] == ["x", "y", "tags", "name"]
    assert dataclasses.is_dataclass(Point)


def test_post_init_checks_what_was_given() -> None:
    @dataclass(frozen=True, slots=True)
    class Even:
        number: int = 0

        def __post_init__(self) -> None:
            if self.number % 2:
                raise ValueError(self.number)

    assert Even(4).number == 4 and dataclasses.replace(Even(4), number=6) == Even(6)
    with pytest.raises(ValueError, match="5"):
        Even(5)
