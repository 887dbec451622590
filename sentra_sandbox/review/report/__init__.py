"""Reports: pure functions of a ``Review``, ``render(review, ...) -> str`` each.

``behaviour`` counts what the run did, once for all of them; ``masking`` takes secrets out of every text; ``text`` keeps hostile
characters from acting. No report reads the trace but through ``Facts``, and each is bounded whatever the run holds.
"""
