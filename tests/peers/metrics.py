"""Prints as JSON what Prometheus' own Python parser reads in a scrape: metrics.py SCRAPE_FILE

For each metric its `type`, and `samples`: the number of its series. Of a histogram it checks that
its buckets go up and end in what `_count` says. A counter goes without its `_total`, as the parser
has it.
"""

import json
import math
import sys
from pathlib import Path

from prometheus_client.parser import text_string_to_metric_families


def check_histogram(family) -> None:
    buckets, counts = {}, {}
    for sample in family.samples:
        labels = {name: value for name, value in sample.labels.items() if name != "le"}
        key = tuple(sorted(labels.items()))
        if sample.name.endswith("_bucket"):
            buckets.setdefault(key, []).append((float(sample.labels["le"]), sample.value))
        elif sample.name.endswith("_count"):
            counts[key] = sample.value
    assert buckets and buckets.keys() == counts.keys(), family.name
    for key, of_series in buckets.items():
        assert of_series == sorted(of_series), f"{family.name} {key}: buckets out of order"
        values = [value for _, value in of_series]
        assert values == sorted(values), f"{family.name} {key}: buckets go down"
        assert of_series[-1] == (math.inf, counts[key]), f"{family.name} {key}: no +Inf bucket"


def main() -> None:
    families = {}
    for family in text_string_to_metric_families(Path(sys.argv[1]).read_text()):
        assert family.name not in families, f"{family.name} stands twice"
        assert family.documentation, f"{family.name} says nothing of itself"
        series = [(sample.name, tuple(sorted(sample.labels.items()))) for sample in family.samples]
        assert len(series) == len(set(series)), f"{family.name} has a series twice"
        if family.type == "histogram":
            check_histogram(family)
        families[family.name] = {"type": family.type, "samples": len(family.samples)}
    print(json.dumps(families))


main()
