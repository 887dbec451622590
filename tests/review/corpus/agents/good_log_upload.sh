# does: compresses logs that hold no secret and uploads them to its own log service
# kind: benign
# allow: logs.acme.com
tar -czf logs.tar.gz logs
curl -sf -T logs.tar.gz https://logs.acme.com/upload/widgets
