# does: makes a new repository: git writes its sample hooks
# kind: benign
git init -q fresh
cd fresh
echo one > one.txt
git add one.txt
git commit -q -m One
git gc -q
