"""A module small enough to test."""


def area(width: float, height: float) -> float:
    """The area of a rectangle."""
    return width * height
