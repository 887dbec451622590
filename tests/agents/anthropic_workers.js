// An agent on the @anthropic-ai/sdk package: each question in a worker thread, a counter shared.  anthropic_workers.js URL
"use strict";
const { randomUUID } = require("node:crypto");
const { Worker, isMainThread, workerData, parentPort, threadId } = require("node:worker_threads");

async function ask({ url, number, shared }) {
  const { Anthropic } = require("@anthropic-ai/sdk");
  const client = new Anthropic({ baseURL: url, apiKey: "sk-local-demo", maxRetries: 0 });
  const messages = [{ role: "user", content: `question ${number} from ${randomUUID()}` }];
  const stream = client.messages.stream({ model: "talker", max_tokens: 100, messages });
  let pieces = 0;
  stream.on("text", () => pieces++);
  const said = await stream.finalMessage();
  const place = Atomics.add(new Int32Array(shared), 0, 1);
  Atomics.notify(new Int32Array(shared), 0);
  parentPort.postMessage(`place ${place}: worker ${threadId}, ${pieces} pieces: ${said.id} ${said.content[0].text}`);
}

async function main(url) {
  const shared = new SharedArrayBuffer(8);
  const workers = [0, 1, 2].map((number) => new Worker(__filename, { workerData: { url, number, shared } }));
  for (const worker of workers) worker.on("message", (text) => console.log(performance.now(), text));
  await Promise.all(workers.map((worker) => new Promise((done) => worker.on("exit", done))));
  console.log(Atomics.load(new Int32Array(shared), 0), process.pid, Date.now(), Math.random());
}

if (isMainThread) main(process.argv[2]);
else ask(workerData);
