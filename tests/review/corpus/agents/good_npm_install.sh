# does: installs a package whose postinstall does nothing, with the registry's token in .npmrc
# kind: benign
# allow: registry.npmjs.org
# needs: npm
echo '{"name": "app", "version": "1.0.0"}' > package.json
npm install --silent plain-package
