const assert = require("assert");
const { double } = require("./double");

assert.strictEqual(double(21), 42);
console.log("all passed in", process.env.npm_lifecycle_event);
