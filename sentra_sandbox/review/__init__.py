"""The security review of a run: what it did, and whether anything of it is wrong, with proof from the trace.

    Trace ──► facts (``facts``: what happened, no judgement)
              ├─► content (``content``: secrets, looked for in everything that left, through encodings)
              ├─► detectors (``detectors``: one file each, Python: stateful, content) ──► Finding
              └─► rules (``rules``: Falco's files and grammar, one condition an event) ──► Finding
    Findings ─► suppressions, baseline ──► Review ──► report (terminal, html, json, sarif, markdown, ocsf)

Pure functions of a trace: nothing here traces, connects or replays. Only ``content.search`` has an inner loop in C. Every claim of a
finding names the events that prove it.
"""
