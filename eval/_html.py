"""Writing a page by nodes: all text is escaped, since it may come from files that others made."""

from xml.etree import ElementTree

Node = ElementTree.Element

SAFETY = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
"""What a browser may load for a page: nothing from anywhere else."""


def node(tag: str, *children: Node | str, **attributes: str | float) -> Node:
    """An element of HTML or SVG: `node("text", "3 < 4", x=5, text_anchor="end", class_="row")`.

    In attribute names `_` stands for `-`, and a last one is dropped.
    """
    names = {name.rstrip("_").replace("_", "-"): str(value) for name, value in attributes.items()}
    made = ElementTree.Element(tag, names)
    for child in children:
        if isinstance(child, ElementTree.Element):
            made.append(child)
        elif len(made):
            made[-1].tail = (made[-1].tail or "") + child
        else:
            made.text = (made.text or "") + child
    return made


def drawing(width: float, height: float, label: str, *children: Node) -> Node:
    """An SVG that shrinks with its column, and grows no further than `width` pixels."""
    style = f"max-width:{width:g}px"
    return node("svg", *children, viewBox=f"0 0 {width:g} {height:g}", role="img", aria_label=label, style=style)


def page(title: str, css: str, *body: Node) -> str:
    """A whole page that needs no other file."""
    head = node(
        "head",
        node("meta", charset="utf-8"),
        node("meta", http_equiv="Content-Security-Policy", content=SAFETY),
        node("meta", name="viewport", content="width=device-width, initial-scale=1"),
        node("title", title),
        node("style", css),
    )
    whole = node("html", head, node("body", node("main", *body)), lang="en")
    return "<!DOCTYPE html>\n" + ElementTree.tostring(whole, encoding="unicode", method="html") + "\n"
