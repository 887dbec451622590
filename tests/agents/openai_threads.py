"""An agent on the openai client: several threads ask at once over TLS with a private authority.  openai_threads.py URL CA"""

from __future__ import annotations

import ssl
import sys
from concurrent.futures import ThreadPoolExecutor, as_completed

import httpx
from chance import chance
from openai import OpenAI


def ask(client: OpenAI, number: int) -> str:
    messages = [{"role": "user", "content": f"question {number} {chance()}"}]
    if number % 2:
        done = client.chat.completions.create(model="talker", messages=messages)  # type: ignore[arg-type, call-overload]
        return f"{number}: {done.id} {done.choices[0].message.content}"
    stream = client.chat.completions.create(model="talker", messages=messages, stream=True)  # type: ignore[arg-type, call-overload]
    return f"{number}: " + "".join(chunk.choices[0].delta.content or "" for chunk in stream)


def main() -> None:
    verify = ssl.create_default_context(cafile=sys.argv[2])
    with httpx.Client(verify=verify) as http:
        client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-local-demo", max_retries=0, http_client=http)
        with ThreadPoolExecutor(4) as pool:
            asked = [pool.submit(ask, client, number) for number in range(8)]
            for place, done in enumerate(as_completed(asked)):
                print(place, done.result(), flush=True)
    print(chance())


main()
