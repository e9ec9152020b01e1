"""A sync LangGraph agent whose ToolNode runs three tools in threads: the bottleneck is `search_web`, the slowest tool.

Hard: the tools are LangChain's, in a pool of LangGraph's, and `query_db` hides completely.
"""

import time

from _fix import run, scale
from langchain_core.messages import AIMessage
from langchain_core.tools import tool
from langgraph.graph import START, MessagesState, StateGraph
from langgraph.prebuilt import ToolNode, tools_condition

FIXES = ["search_web", "query_db", "calculate", "agent"]


@tool
def search_web(topic: str) -> str:
    """Search the web."""
    time.sleep(0.4 * scale("search_web"))
    return topic


@tool
def query_db(topic: str) -> str:
    """Ask the data base."""
    time.sleep(0.18 * scale("query_db"))
    return topic


@tool
def calculate(topic: str) -> str:
    """Compute something."""
    time.sleep(0.05 * scale("calculate"))
    return topic


TOOLS = [search_web, query_db, calculate]


def agent(state):
    time.sleep(0.12 * scale("agent"))
    rounds = sum(isinstance(message, AIMessage) for message in state["messages"])
    calls = [{"name": one.name, "args": {"topic": "bees"}, "id": f"{rounds}-{one.name}"} for one in TOOLS]
    return {"messages": [AIMessage("", tool_calls=calls if rounds < 2 else [])]}


graph = StateGraph(MessagesState)
graph.add_node("agent", agent)
graph.add_node("tools", ToolNode(TOOLS))
graph.add_edge(START, "agent")
graph.add_conditional_edges("agent", tools_condition)
graph.add_edge("tools", "agent")
app = graph.compile()


def main():
    app.invoke({"messages": [("user", "How do bees find flowers?")]})


run(main)
