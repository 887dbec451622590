# does: destroys the repository it works in
# kind: malicious
# expect: SEN-130 high medium
rm -rf .git
