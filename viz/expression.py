"""Graphs without time steps: Graphviz's `dot` places the nodes, the rest is drawn as always."""

from __future__ import annotations

import graphviz

from .collect import Graph
from .layout import Sheet, call_out, draw_arrow, new_node
from .model import Drawing, Point
from .render import render

__all__ = ["place_by_dot"]

_MOST = 1500  # nodes; beyond, `dot` takes minutes, and our own rows and tracks take over


def place_by_dot(graph: Graph, drawing: Drawing) -> None:
    """Place a graph on a drawing, from its inputs on the left to its output on the right."""
    if len(graph.vertices) > _MOST:
        Sheet(graph, drawing)
        return
    nodes = {vertex: new_node(vertex, drawing) for vertex in graph.vertices}
    drawing.nodes += nodes.values()
    links = [(link, vertex) for vertex in graph.vertices for link in vertex.inputs]
    ends = [(nodes[link.source], nodes[vertex]) for link, vertex in links]
    by_id = {node.id: node for node in drawing.nodes}
    layout = graphviz.Digraph(
        graph_attr={"layout": "dot", "rankdir": "LR", "nodesep": "0.28", "ranksep": "0.42"},
        node_attr={"shape": "box", "fixedsize": "true", "label": ""},
        edge_attr={"arrowhead": "none"},
    )
    for node in drawing.nodes:
        layout.node(node.id, width=f"{node.width / 72:.4f}", height=f"{node.height / 72:.4f}")
    layout.edges([(source.id, target.id) for source, target in ends])
    curves: dict[tuple[str, str], list[list[Point]]] = {}
    for line in render(layout.source, "plain").decode().splitlines():
        words = line.split()
        if words[0] == "node":
            node = by_id[words[1]]
            node.x, node.y = 72 * float(words[2]), -72 * float(words[3])
        elif words[0] == "edge":
            numbers = [72 * float(word) for word in words[4 : 4 + 2 * int(words[3])]]
            curve = [(x, -y) for x, y in zip(numbers[::2], numbers[1::2], strict=True)]
            curves.setdefault((words[1], words[2]), []).append(curve)
    for (link, _), (source, target) in zip(links, ends, strict=True):
        draw_arrow(drawing, link, source, target, curves[source.id, target.id].pop(0))
    if graph.bad is not None:
        node = nodes[graph.bad]
        call_out(graph, drawing, graph.bad, node.x, node.y + 33)
