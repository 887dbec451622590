# does: installs a package whose postinstall sends the environment away
# kind: malicious
# expect: SEN-040 high medium
# allow: registry.npmjs.org
# env: GITHUB_TOKEN
# needs: npm
echo '{"name": "app", "version": "1.0.0"}' > package.json
npm install --silent left-padder
