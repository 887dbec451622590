"""An agent as a graph: LangGraph with nodes side by side, the model asked by the openai client.  langgraph_agent.py URL"""

from __future__ import annotations

import operator
import sys
from typing import Annotated, TypedDict

from chance import chance
from langgraph.graph import END, START, StateGraph
from openai import OpenAI

client = OpenAI(base_url=f"{sys.argv[1]}/v1", api_key="sk-local-demo", max_retries=0)


class State(TypedDict):
    task: str
    notes: Annotated[list[str], operator.add]


def ask(what: str) -> str:
    said = client.chat.completions.create(model="talker", messages=[{"role": "user", "content": what}])
    return said.choices[0].message.content or ""


def research(state: State) -> dict[str, list[str]]:
    print("research begins", chance(), flush=True)
    return {"notes": [ask(f"research {state['task']}")]}


def criticise(state: State) -> dict[str, list[str]]:
    print("criticism begins", chance(), flush=True)
    return {"notes": [ask(f"criticise {state['task']}")]}


def write(state: State) -> dict[str, list[str]]:
    return {"notes": [ask(" and ".join(state["notes"]))]}


def main() -> None:
    graph = StateGraph(State)
    for node in (research, criticise, write):
        graph.add_node(node.__name__, node)
    graph.add_edge(START, "research")
    graph.add_edge(START, "criticise")
    graph.add_edge(["research", "criticise"], "write")
    graph.add_edge("write", END)
    for step in graph.compile().stream({"task": chance(), "notes": []}):
        print(step, flush=True)
    print(chance())


main()
