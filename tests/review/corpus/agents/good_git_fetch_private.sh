# does: clones a private repository by a token in the URL of its own host, commits, shows the log
# kind: benign
# allow: github.com
# env: GITHUB_TOKEN
set -e
git push -q origin main
git clone -q "https://x-access-token:$GITHUB_TOKEN@$(git remote get-url origin | cut -c9-)" copy
git -C copy log --oneline
