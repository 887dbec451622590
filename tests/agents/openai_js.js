// An agent on the openai package: answers streamed over TLS, several at once, a process between.  openai_js.js URL
"use strict";
const { execFile } = require("node:child_process");
const { randomUUID, createHash } = require("node:crypto");
const { promisify } = require("node:util");
const { OpenAI } = require("openai");

const client = new OpenAI({ baseURL: `${process.argv[2]}/v1`, apiKey: "sk-local-demo", maxRetries: 0 });
const chance = () => `[${Date.now()} ${performance.now()} ${process.hrtime.bigint()} ${randomUUID()} pid ${process.pid} ${Math.random()}]`;

async function ask(number) {
  const messages = [{ role: "user", content: `question ${number} ${chance()}` }];
  let text = "";
  for await (const chunk of await client.chat.completions.create({ model: "talker", messages, stream: true })) {
    text += chunk.choices[0].delta.content ?? "";
  }
  console.log(`${number}: ${text}`);
  return text;
}

async function main() {
  const ticks = setInterval(() => console.log("tick", process.hrtime.bigint()), 7);
  const texts = await Promise.all([0, 1, 2, 3, 4].map(ask));
  clearInterval(ticks);
  console.log(createHash("sha256").update(texts.join()).digest("hex"));
  console.log((await promisify(execFile)("date", ["+%s.%N"])).stdout.trim(), chance());
}

main();
