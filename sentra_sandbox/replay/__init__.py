"""Replaying a recorded run: the program is executed again and finds the recorded world."""
