"""`thresher methods`: what there is to choose from."""

import json

from thresher.noise import METHODS


def test_json_lists_every_method_with_what_it_needs(call):
    """One object, in the order of the registry."""
    done = call("methods", "--json")
    assert done.code == 0
    found = json.loads(done.out)
    assert ["schema", "methods"] == list(found)
    assert found["schema"] == 1
    assert list(METHODS) == [each["name"] for each in found["methods"]]
    for each in found["methods"]:
        assert ["name", "needs", "networks", "summary", "source"] == list(each)
        assert all(isinstance(need, str) for need in each["needs"])
        assert each["networks"] in (1, 2)
        assert each["summary"]
        assert each["source"]


def test_people_read_a_line_for_every_method(call):
    """The names of the issue are all there."""
    lines = call("methods").out.splitlines()
    assert list(METHODS) == [each.split()[0] for each in lines[1:]]
    assert {"auto", "standard", "gce", "sce", "elr", "co-teaching", "selfie"} <= set(METHODS)
