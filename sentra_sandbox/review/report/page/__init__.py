"""The parts of the HTML report, one section a module: functions of ``Shown`` that return markup within a ``Room`` (``report/html.py``)."""
