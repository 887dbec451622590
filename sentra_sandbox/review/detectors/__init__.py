"""One detector a file: ``DETECTOR`` (a ``findings.Detector``) says what it finds; ``registry`` lists them."""
