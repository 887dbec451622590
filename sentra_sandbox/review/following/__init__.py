"""The one pass over a run's events that ``facts.collect`` makes: one follower a subject, each fed only the calls it wants.

``one_pass`` drives; ``processes``, ``paths``, ``file_uses``, ``channels``, ``sockets``, ``calls`` follow; ``event_store`` fetches events
again; ``gaps`` says what is missing.
"""
