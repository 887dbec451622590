"""A run whose network has everything that exports show: names, several protocols, compressed and streamed bodies, a model with tools."""

from __future__ import annotations

import gzip
import json

from network_by_hand import Broker, a_day, sse

CLIENT = "198.19.255.254"
CHAT = {"model": "gpt-x", "stream": True, "temperature": 1, "messages": [{"role": "system", "content": "Be brief."}, {"role": "user", "content": "Weather? \ud83d"}]}
STREAM = sse(
    {"id": "c1", "model": "gpt-x-2", "choices": [{"index": 0, "delta": {"content": "Let me look."}}]},
    {"choices": [{"index": 0, "delta": {"tool_calls": [{"index": 0, "id": "call_1", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}]}}]},
    {"choices": [{"index": 0, "delta": {}, "finish_reason": "tool_calls"}]},
    {"choices": [], "usage": {"prompt_tokens": 11, "completion_tokens": 7}},
    "[DONE]",
)
TOOL_TURNS = [{"role": "assistant", "tool_calls": [{"id": "call_1", "function": {"name": "weather", "arguments": '{"city": "Bern"}'}}]}, {"role": "tool", "tool_call_id": "call_1", "content": "sunny"}]
ANSWER = {"id": "c2", "model": "gpt-x-2", "choices": [{"index": 0, "finish_reason": "stop", "message": {"content": "Sunny."}}], "usage": {"prompt_tokens": 20, "completion_tokens": 2}}
JSON = {"Content-Type": "application/json"}
UPGRADE = {"Upgrade": "websocket", "Connection": "Upgrade"}


def world() -> Broker:
    b = a_day()
    c = b.open((CLIENT, 40100), ("198.18.0.3", 443), "api.openai.com")
    b.upstream(c)
    b.tls(c, sni="api.openai.com")
    b.exchange(c, "POST", "/v1/chat/completions", authority="api.openai.com", headers=JSON, body=json.dumps(CHAT).encode(), answer={"Content-Type": "text/event-stream", "Transfer-Encoding": "chunked"}, chunks=STREAM, first_ms=120, every_ms=30)
    b.now += 40
    b.exchange(c, "POST", "/v1/chat/completions", authority="api.openai.com", headers=JSON, body=json.dumps({"model": "gpt-x", "messages": TOOL_TURNS}).encode(), answer=JSON, chunks=json.dumps(ANSWER).encode())
    b.close(c)
    plain = b.open((CLIENT, 40101), ("198.18.0.4", 8080), "web.example.com")
    packed = gzip.compress(b"<p>" + b"hello " * 200)
    b.exchange(plain, "GET", "/page", scheme="http", authority="web.example.com:8080", headers={"Cookie": "a=topsecret; b=topsecret"}, answer={"Content-Type": "text/html; charset=utf-8", "Content-Encoding": "gzip", "Content-Length": str(len(packed))}, chunks=[packed[:20], packed[20:]])
    b.exchange(plain, "GET", "/missing", scheme="http", authority="web.example.com:8080", status=404, answer={"Content-Length": "0"})
    b.exchange(plain, "POST", "/form", scheme="http", authority="web.example.com:8080", headers={"Content-Type": "application/x-www-form-urlencoded", "Content-Length": "9"}, body=b"a=1&b=x+y", answer={"Content-Type": "image/x-raw", "Content-Length": "256"}, chunks=bytes(range(256)))
    b.close(plain, "server", "end")
    ws = b.open((CLIENT, 40102), ("198.18.0.5", 80), "ws.example.com")
    x = b.exchange(ws, "GET", "/socket", scheme="http", authority="ws.example.com", headers={**UPGRADE, "Sec-WebSocket-Key": "dGhlIHNhbXBsZSBub25jZQ==", "Sec-WebSocket-Version": "13"}, status=101, answer={**UPGRADE, "Sec-WebSocket-Accept": "s3pPLMBiTxaQ9kYGzzhZRbK+xOo="}, ends=False)
    b.message(ws, x, b"hello server")
    b.message(ws, x, b"w" * 70_000, to_client=True)
    b.message(ws, x, bytes(10), to_client=True, opcode="binary")
    b.close(ws, "client", "reset")
    six = b.open(("fd00::1", 40103), ("2001:2::7", 8080), "six.example.com")
    b.exchange(six, "PUT", "/v6", scheme="http", authority="six.example.com:8080", headers={"Content-Length": "70000"}, body=b"6" * 70_000, answer={"Content-Length": "2"}, chunks=b"ok")
    b.close(six)
    ntp = b.open((CLIENT, 40104), ("198.18.0.6", 9999), "udp.example.com", protocol="udp")
    b.data(ntp, b"question", datagram=True)
    b.data(ntp, b"answer", datagram=True, to_client=True)
    b.close(ntp)
    b.dns("evil.test", allowed=False, reason="denied by deniedDomains[0]")
    return b


SECRETS = ("sk-very-secret", "topsecret", "hidden", "AIzaSyA1234567890abcdefghijkl")
