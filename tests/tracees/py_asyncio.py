"""py_asyncio - an event loop with timers, a server and clients on loopback, subprocesses, threads and signal handlers.

tracee timeout: 60
"""

import asyncio
import os
import signal
import sys


async def serve(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    while line := await reader.readline():
        writer.write(line.upper())
        await writer.drain()
    writer.close()


async def ask(port: int, text: str) -> str:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    answers = []
    for part in range(5):
        writer.write(f"{text} {part}\n".encode())
        answers.append((await reader.readline()).decode().strip())
    writer.close()
    await writer.wait_closed()
    return " ".join(answers)


async def main() -> None:
    loop = asyncio.get_running_loop()
    caught = asyncio.Event()
    loop.add_signal_handler(signal.SIGUSR1, caught.set)
    server = await asyncio.start_server(serve, "127.0.0.1", 0)
    port = server.sockets[0].getsockname()[1]
    for answer in await asyncio.gather(*(ask(port, name) for name in ("a", "b", "c"))):
        print(answer)
    child = await asyncio.create_subprocess_exec(
        sys.executable,
        "-S",
        "-c",
        "print(input()[::-1])",
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
    )
    out, _ = await child.communicate(b"desserts\n")
    print(out.decode().strip(), child.returncode)
    print("threads", sum(await asyncio.gather(*(asyncio.to_thread(pow, number, 2) for number in range(20)))))
    os.kill(os.getpid(), signal.SIGUSR1)
    await asyncio.wait_for(caught.wait(), 5)
    print("signal")
    try:
        await asyncio.wait_for(asyncio.sleep(30), 0.02)
    except asyncio.TimeoutError:
        print("time limit")
    server.close()
    await server.wait_closed()


asyncio.run(main())
