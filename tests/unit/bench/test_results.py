# Copyright: agentfleet.letta contributors
# GNU General Public License v3.0+ (see LICENSE or https://www.gnu.org/licenses/gpl-3.0.txt)
# SPDX-License-Identifier: GPL-3.0-or-later
"""How the benches count, and how their results are shown."""

from __future__ import annotations

import xml.etree.ElementTree as ET

import pytest

from tests.bench import bad_version, plot, replacement, tables
from tests.bench.load import Answer
from tests.bench.project import HEALTHY, Happened
from tests.bench.tools import Finished

OLD, NEW = "a" * 64, "b" * 64
FINISHED = Finished(began=100.0, ended=106.0, ok=True, output="")


def answer(kind="GET", began=101.0, container=OLD, ready=True, failed="", cut=False, version="good") -> Answer:
    return Answer(kind, 0.01, (began or 101.0) + 0.01, began, container[:12], version, ready, failed, cut)


class TestReplacement:
    def test_an_answer_before_its_container_was_healthy_is_ungated(self):
        answers = [answer(began=103.0, container=NEW), answer(began=105.0, container=NEW), answer()]
        assert replacement.tally(answers, {OLD: 0.0, NEW: 104.0}, FINISHED)["ungated"] == 1

    def test_an_answer_of_a_container_that_never_was_healthy_is_ungated(self):
        assert replacement.tally([answer(container=NEW)], {OLD: 0.0}, FINISHED)["ungated"] == 1

    def test_an_answer_that_says_it_is_not_ready_is_ungated(self):
        assert replacement.tally([answer(ready=False)], {OLD: 0.0}, FINISHED)["ungated"] == 1

    def test_no_answer_is_a_failure_and_nothing_else(self):
        row = replacement.tally([answer(), answer(began=None, container="", failed="gone")], {OLD: 0.0}, FINISHED)
        assert (row["failed"], row["cut"], row["ungated"]) == ({"GET": 1}, {}, 0)

    def test_what_is_cut_is_counted_as_cut_and_not_as_failed(self):
        answers = [answer(), answer(kind="SSE", failed="ended early", cut=True)]
        row = replacement.tally(answers, {OLD: 0.0}, FINISHED)
        assert (row["failed"], row["cut"]) == ({}, {"SSE": 1})

    def test_the_first_time_that_a_container_was_healthy_counts(self):
        events = [Happened(104.0, HEALTHY, NEW), Happened(109.0, HEALTHY, NEW), Happened(103.0, "start", NEW)]
        assert replacement.health_times(events) == {NEW: 104.0}

    @pytest.mark.parametrize(
        "spoilt", [{"failed": {"POST": 1}}, {"ungated": 1}, {"cut": {"SSE": 1}}], ids=["failed", "ungated", "cut"]
    )
    def test_one_lost_request_misses_a_target(self, spoilt):
        clean = {"failed": {"POST": 0}, "ungated": 0, "cut": {"SSE": 0}}
        assert all(replacement.targets({"compose_rollout, proxy": clean}).values())
        assert list(replacement.targets({"compose_rollout, proxy": {**clean, **spoilt}}).values()).count(False) == 1


class TestBadVersion:
    def test_the_old_one_answers_again_after_its_own_start(self):
        events = [
            Happened(100.0, "die", OLD),
            Happened(101.0, "start", NEW),
            Happened(102.0, "die", NEW),
            Happened(103.0, "start", OLD),
        ]
        answers = [answer(began=99.0), answer(began=100.5, failed="refused"), answer(began=103.5, failed="status 503")]
        row = bad_version.tally([*answers, answer(began=104.0)], events)
        assert row["again"] == pytest.approx(2.01)
        assert row["start"] == pytest.approx(1.01)
        assert row["down"] == pytest.approx(3.0)
        assert (row["failed"], row["requests"]) == (2, 4)

    def test_an_old_one_that_ran_on_had_no_start(self):
        events = [Happened(101.0, "start", NEW), Happened(102.0, "die", NEW)]
        row = bad_version.tally([answer(began=101.0), answer(began=102.5)], events)
        assert (row["start"], row["down"], row["failed"]) == (0.0, 0.0, 0)

    def test_an_answer_of_the_bad_version_is_not_the_old_one_again(self):
        events = [Happened(101.0, "start", NEW), Happened(102.0, "die", NEW)]
        row = bad_version.tally([answer(began=102.5, version="bad"), answer(began=103.0)], events)
        assert row["again"] == pytest.approx(1.01)


RESULTS = {
    "nothing_to_do": {
        "conditions": {
            "date": "2026-01-31 10:00 UTC",
            "runs": 2,
            "cores": 2,
            "processor": "a <processor>",
            "load_before": 0.1,
            "versions": {"engine": "20.10.24"},
        },
        "runs": {"compose_rollout": [0.7, 0.9], "docker_compose_v2": [1.0, 1.2]},
        "summary": {
            "compose_rollout": {"median": 0.8, "mean": 0.8, "min": 0.7, "max": 0.9},
            "docker_compose_v2": {"median": 1.1, "mean": 1.1, "min": 1.0, "max": 1.2},
        },
        "targets": {"at most 0.9 of docker_compose_v2": True, "another one": False},
    }
}


def test_the_table_has_the_numbers_and_says_what_was_missed():
    section = tables.section(RESULTS)
    assert "| compose_rollout | 0.80 s | 0.70 s | 0.90 s |" in section
    assert "- reached: at most 0.9 of docker_compose_v2" in section
    assert "- **missed**: another one" in section
    assert "2 runs, 2026-01-31, 2 cores" in section
    assert "engine 20.10.24" in section


def test_the_picture_is_xml_with_a_dot_for_each_run():
    picture = ET.fromstring(plot.draw(RESULTS))
    dots = [each.get("class") for each in picture.iter("{http://www.w3.org/2000/svg}circle")]
    assert sorted(dots) == ["dot", "dot", "ours dot", "ours dot"]


@pytest.mark.parametrize("most", [0.0004, 0.07, 0.1, 0.5, 1.0, 1.45, 2.0, 9.9, 33.0, 100.0])
def test_an_axis_has_a_few_marks_and_reaches_its_greatest_value(most):
    marks = plot.ticks(most)
    assert 3 <= len(marks) <= 7
    assert marks[0] == 0
    assert marks[-2] < most <= marks[-1]
