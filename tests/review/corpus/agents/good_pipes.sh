# does: usual shell work over the workspace: find, xargs, sort, sed, tar, temporary files
# kind: benign
temporary=$(mktemp -d)
find . -name '*.py' -not -path './.git/*' | xargs cat | sort | uniq -c | sort -rn | head -5
tar -cf "$temporary/src.tar" src
tar -xf "$temporary/src.tar" -C "$temporary"
sed -i 's/3.14/3.1416/' widgets.py
diff -r src "$temporary/src"
rm -rf "$temporary"
