"""Rule files in Falco's form: ``conditions`` the grammar, ``files`` the YAML, ``fields`` the vocabulary, ``evaluate`` the events."""
