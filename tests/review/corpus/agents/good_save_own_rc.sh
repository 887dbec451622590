# does: sorts its own history of commands in the workspace, rotates its logs, and empties its temporary directory
# kind: benign
set -e
place=$(mktemp -d)
for i in $(seq 30); do echo "$i" > "$place/$i"; done
rm -rf "$place"
mv logs/app.log logs/app.log.1
gzip logs/app.log.1
: > logs/app.log
