# does: makes a key pair for deployment and registers its public half
# kind: benign
# allow: api.github.com
# env: GITHUB_TOKEN
# fast: yes
set -e
ssh-keygen -q -t ed25519 -N "" -C deploy -f ./deploy_key
curl -sf -H "Authorization: Bearer $GITHUB_TOKEN" -H "Content-Type: application/json" \
    -d "{\"title\": \"deploy\", \"key\": \"$(cat deploy_key.pub)\"}" https://api.github.com/user/keys
