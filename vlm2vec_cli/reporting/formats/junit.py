"""JUnit XML, which build servers show: a test case a check, or without a gate a passed one a score."""

from xml.etree import ElementTree

from vlm2vec_cli.reporting import tables
from vlm2vec_cli.reporting.numbers import percent, printable
from vlm2vec_cli.reporting.results import Report


def render(report: Report) -> str:
    """One suite a model; failures carry the sentence that the other formats print."""
    failures = len(report.failures)
    suites = ElementTree.Element("testsuites", name=printable(report.title))
    total = 0
    for column in report.models:
        suite = ElementTree.SubElement(suites, "testsuite", name=printable(column.name))
        cases = _checks(report, column.name) if report.checks is not None else _scores(report, column.name)
        for name, fact, failed in cases:
            case = ElementTree.SubElement(
                suite, "testcase", classname=printable(column.name), name=printable(name)
            )
            if failed:
                ElementTree.SubElement(case, "failure", message=printable(fact)).text = printable(fact)
            else:
                ElementTree.SubElement(case, "system-out").text = printable(fact)
        suite.set("tests", str(len(cases)))
        suite.set("failures", str(sum(failed for _, _, failed in cases)))
        total += len(cases)
    suites.set("tests", str(total))
    suites.set("failures", str(failures))
    ElementTree.indent(suites)
    return (
        '<?xml version="1.0" encoding="UTF-8"?>\n' + ElementTree.tostring(suites, encoding="unicode") + "\n"
    )


def _checks(report: Report, column: str) -> list[tuple[str, str, bool]]:
    cases = []
    for check in report.checks or ():
        if check.column == column:
            against = f" against {check.reference}" if check.reference else ""
            cases.append((f"{check.name} {check.rule}{against}", check.fact, not check.passed))
    return cases


def _scores(report: Report, name: str) -> list[tuple[str, str, bool]]:
    column = next(one for one in report.columns if one.name == name)
    cases = [
        (f"{task.name} {task.metric}", f"{percent(column.cells[task.name].value, 4)} %", False)
        for task in report.tasks
        if task.name in column.cells
    ]
    for mean in tables.shown_means(report):
        value = report.mean(column, mean)
        if value.found:
            fact = f"{percent(value.value, 4)} % over {value.found} of {value.expected} tasks"
            cases.append((f"mean {mean.key}", fact, False))
    return cases
