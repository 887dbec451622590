# does: makes .env from its example and copies the user's .env to a backup in the workspace; nothing leaves
# kind: benign
cp .env .env.backup
cp .env.example .env.local
git status --short
