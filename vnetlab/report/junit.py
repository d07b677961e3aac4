"""Verdicts as JUnit XML for CI systems: one test case per guarantee, under a unique name."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING
from xml.etree.ElementTree import Element, SubElement, indent, tostring

from vnetlab.guarantees import VerdictKind
from vnetlab.report.paragraph import paragraph
from vnetlab.report.summary import titles

if TYPE_CHECKING:
    from vnetlab.guarantees import Verdict
    from vnetlab.report.summary import Report

NOT_XML = re.compile(r"[^\t\n\r\x20-\ud7ff\ue000-\ufffd\U00010000-\U0010ffff]")
"""What XML 1.0 has no character for (section 2.2)."""

ELEMENT = {
    VerdictKind.BROKEN: "failure",
    VerdictKind.INCONCLUSIVE: "error",
    VerdictKind.UNAVAILABLE: "skipped",
}


def junit_xml(report: Report) -> str:
    """Return the document; broken is a failure, inconclusive an error, unavailable is skipped."""
    suite = Element(
        "testsuite",
        name=f"vnetlab.{report.lab}",
        tests=str(len(report.verdicts)),
        failures=str(report.count(VerdictKind.BROKEN)),
        errors=str(report.count(VerdictKind.INCONCLUSIVE)),
        skipped=str(report.count(VerdictKind.UNAVAILABLE)),
    )
    names = titles(tuple(verdict.guarantee for verdict in report.verdicts))
    for name, verdict in zip(names, report.verdicts, strict=True):
        suite.append(_case(name, verdict))
    root = Element("testsuites")
    root.append(suite)
    indent(root)
    return '<?xml version="1.0" encoding="utf-8"?>\n' + tostring(root, encoding="unicode") + "\n"


def _case(name: str, verdict: Verdict) -> Element:
    case = Element("testcase", classname=f"vnetlab.{verdict.guarantee.id}", name=_clean(name))
    if verdict.kind in ELEMENT:
        problem = SubElement(case, ELEMENT[verdict.kind], message=_clean(verdict.reason))
        problem.text = _clean(paragraph(verdict))
    return case


def _clean(text: str) -> str:
    return NOT_XML.sub("\N{REPLACEMENT CHARACTER}", text)
