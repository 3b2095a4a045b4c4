"""The output of ``keras-moe export --target``."""

import collections
import typing


def print_target(target: dict[str, typing.Any]) -> None:
    """Where each graph runs on a target, and each operation that falls off an accelerator."""
    for name, graph in target["graphs"].items():
        places = collections.Counter(row["place"] for row in graph["operators"])
        shares = ", ".join(f"{count} operations on {place}" for place, count in places.items())
        figures = ", ".join(f"{key} {value:,}" for key, value in graph.items() if key != "operators")
        print(f"{name}: {shares}; {figures}")
        for row in graph["operators"]:
            if row["reason"]:
                print(f"  {row['place']}: {row['operation']} of {row['layer']}: {row['reason']}")
