// What Node programs do: one function a topic, named on the command line; prints the same every time.
const fs = require("fs");
const path = require("path");
const { once } = require("events");

async function files() {
  fs.mkdirSync("d/e", { recursive: true });
  for (let i = 0; i < 20; i++) fs.writeFileSync(`d/e/f${i}`, "x".repeat(i * 100));
  const names = await fs.promises.readdir("d/e");
  const sizes = await Promise.all(names.map(async (name) => (await fs.promises.stat(path.join("d/e", name))).size));
  console.log(names.length, sizes.reduce((a, b) => a + b));
  const out = fs.createWriteStream("copy");
  fs.createReadStream("d/e/f19").pipe(out);
  await once(out, "finish");
  await fs.promises.rename("copy", "moved");
  console.log(fs.readFileSync("moved", "utf8").length, fs.existsSync("copy"));
  const handle = await fs.promises.open("moved", "r+");
  await handle.write("HEAD", 0);
  await handle.sync();
  await handle.close();
  console.log(fs.readFileSync("moved").subarray(0, 6).toString());
}

async function workers() {
  const { Worker } = require("worker_threads");
  const code = `
    const { parentPort, workerData } = require("worker_threads");
    let sum = 0;
    for (let i = 0; i < 2e6; i++) sum = (sum + i * workerData) % 1000003;
    parentPort.once("message", (shared) => {
      Atomics.add(new Int32Array(shared), 0, workerData);
      parentPort.postMessage(sum);
    });`;
  const shared = new SharedArrayBuffer(4);
  const results = await Promise.all(
    [1, 2, 3, 4].map(async (number) => {
      const worker = new Worker(code, { eval: true, workerData: number });
      const exited = once(worker, "exit"); // listened to before anything can happen
      const answered = once(worker, "message");
      worker.postMessage(shared);
      const [sum] = await answered;
      await exited;
      return sum;
    }),
  );
  console.log(results.join(), new Int32Array(shared)[0]);
}

async function processes() {
  const { execFileSync, spawn, fork, exec } = require("child_process");
  console.log(execFileSync("seq", ["3"]).toString().trim().split("\n").join());
  const child = spawn("sh", ["-c", "cat; exit 4"]);
  const exited = once(child, "exit");
  child.stdin.end("through cat\n");
  const [data] = await once(child.stdout, "data");
  const [code] = await exited;
  console.log(data.toString().trim(), code);
  const ours = fork(__filename, ["answer"]);
  const gone = once(ours, "exit");
  ours.send({ number: 21 });
  console.log((await once(ours, "message"))[0]);
  await gone;
  await new Promise((done) => exec("exit 9", (error) => done(console.log("exec", error.code))));
  const sleeper = spawn("sleep", ["30"]);
  sleeper.kill("SIGTERM");
  console.log((await once(sleeper, "exit")).join());
}

async function crypto() {
  const crypto = require("crypto");
  const zlib = require("zlib");
  const { promisify } = require("util");
  const keys = await Promise.all([1, 2, 3, 4, 5].map((n) => promisify(crypto.pbkdf2)("p", `salt${n}`, 2000, 16, "sha256")));
  console.log(keys.map((key) => key.toString("hex").slice(0, 8)).join());
  const packed = await promisify(zlib.gzip)("text ".repeat(20000));
  console.log((await promisify(zlib.gunzip)(packed)).length);
  console.log(crypto.createHash("sha256").update("x").digest("hex").slice(0, 12), crypto.randomBytes(8).length);
  const pair = crypto.generateKeyPairSync("ed25519");
  console.log(crypto.verify(null, Buffer.from("m"), pair.publicKey, crypto.sign(null, Buffer.from("m"), pair.privateKey)));
}

async function http() {
  const http = require("http");
  const server = http.createServer((request, response) => {
    let body = "";
    request.on("data", (part) => (body += part));
    request.on("end", () => {
      response.setHeader("content-type", "application/json");
      for (const word of body.split(" ")) response.write(word.toUpperCase());
      response.end();
    });
  });
  await once(server.listen(0, "127.0.0.1"), "listening");
  const url = `http://127.0.0.1:${server.address().port}/`;
  const answers = await Promise.all(["a b", "c d e", "f"].map(async (body) => (await fetch(url, { method: "POST", body })).text()));
  console.log(answers.join());
  server.closeAllConnections();
  server.close();
}

if (process.argv[2] === "answer") {
  process.once("message", ({ number }) => {
    process.send({ answer: number * 2 });
    process.disconnect();
  });
} else {
  ({ files, workers, processes, crypto, http })[process.argv[2]]();
}
