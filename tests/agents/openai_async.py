"""An agent on the asynchronous openai client: requests side by side, threads and a process between.  openai_async.py URL"""

from __future__ import annotations

import asyncio
import hashlib
import sys
import time

from chance import chance
from openai import AsyncOpenAI


async def ask(client: AsyncOpenAI, number: int) -> str:
    words = [f"{number}:"]
    messages = [{"role": "user", "content": f"question {number}"}]
    async for chunk in await client.chat.completions.create(model="talker", messages=messages, stream=True):  # type: ignore[arg-type, call-overload]
        words.append(chunk.choices[0].delta.content or "")
    digest = await asyncio.to_thread(lambda: hashlib.sha256(f"{words}{chance()}".encode() * 5000).hexdigest())
    return "".join(words) + digest


async def date() -> str:
    process = await asyncio.create_subprocess_exec("date", "+%N", stdout=asyncio.subprocess.PIPE)
    return f"process {process.pid}: {(await process.communicate())[0].decode().strip()}"


async def main() -> None:
    started = time.monotonic()
    async with AsyncOpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-local-demo", max_retries=0) as client:
        for done in asyncio.as_completed([*(ask(client, number) for number in range(6)), date()]):
            print(f"{time.monotonic() - started:.6f}", await done, flush=True)
    print(chance())


asyncio.run(main())
