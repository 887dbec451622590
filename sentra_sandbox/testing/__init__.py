"""Tests of agents that run offline: recorded once, answered from the recording afterwards. ``plugin`` is what pytest loads."""
