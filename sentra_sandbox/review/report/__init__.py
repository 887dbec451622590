"""A review for its readers: ``terminal``, ``html``, ``json_report``, ``sarif``, ``markdown``, ``ocsf``. Pure functions of a ``Review``."""
