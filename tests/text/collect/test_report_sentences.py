from pretune.text.collect.report_sentences import MOST_PROBLEMS, MOST_WARNINGS, Remark, remarks
from pretune.text.reading_report import Findings


def sentences(findings: Findings) -> list[str]:
    return [remark.sentence for remark in remarks(findings, 99)]


def test_no_findings_give_no_remarks() -> None:
    assert remarks(Findings(), 9) == []


def test_files_with_the_same_problem_are_reported_together() -> None:
    findings = Findings()
    for number in range(5):
        problem = f"x/{number}.gz is a damaged gz file (Error {number} there); get it again."
        findings.could_not_read(f"x/{number}.gz", problem)
    findings.could_not_read("b.txt", "b.txt is 12 % noise.", num_kept=1200)
    assert remarks(findings, 99) == [
        Remark(
            sentence="5 files could not be read and were skipped; the first: x/0.gz is a "
            "damaged gz file (Error 0 there); get it again. Also affected: x/1.gz, x/2.gz and 2 more.",
            is_warning=True,
            rule="unreadable",
            count=5,
        ),
        Remark(
            sentence="A file could be read only in part: b.txt is 12 % noise. "
            "Documents read before that are kept: 1,200.",
            is_warning=True,
            rule="unreadable",
            count=1,
        ),
    ]
    assert remarks(findings, 99)[0].event == "warning"
    assert remarks(findings, 99)[0].fields.keys() == {"sentence", "rule", "count"}


def test_many_empty_documents_are_worth_a_warning() -> None:
    findings = Findings()
    for line in range(11):
        findings.dropped.add("no_text", "nothing but white space", f"a.csv, line {line}")
    assert remarks(findings, 100) == []
    (remark,) = remarks(findings, 90)
    assert remark.sentence == "Left out, nothing but white space: 11; the first is a.csv, line 0."
    assert remark.is_warning


def test_many_problems_are_summed_up() -> None:
    findings = Findings()
    for number in range(MOST_PROBLEMS + 2):
        findings.could_not_read("a", f"a has the problem {chr(97 + number)}.")
    findings.warnings += [f"Warning {number}." for number in range(MOST_WARNINGS + 3)]
    shown = sentences(findings)
    assert shown[MOST_PROBLEMS] == "Files that could not be read for other reasons: 2."
    assert shown[-1] == "3 more warnings about files, like the last ones, are not shown."
    assert len(shown) == MOST_PROBLEMS + 1 + MOST_WARNINGS + 1


def test_skipped_content_is_reported() -> None:
    findings = Findings(num_attachments=3, num_quoted_lines=2, num_continued=1, notices=["A notice."])
    for name in ("paper.tex", "old.doc"):
        findings.ignored_files.add("file without a known ending", "x", name)
    findings.ignored_files.add("hidden folder", "x", ".git")
    findings.dropped.add("no_text", "nothing but white space", "a.txt, line 1")
    findings.dropped.add("ragged_row", "a row with too few or too many cells", "a.csv, line 2")
    assert sentences(findings) == [
        "A notice.",
        "Skipped files and folders: 2 file without a known ending (paper.tex, old.doc), 1 hidden folder "
        "(.git). To read files with another ending, name them, as in '*.tex' (not inside archives).",
        "Lines of quoted replies and signatures left out of mails: 2.",
        "Attachments and other mail parts not read: 3.",
        "Documents that were too long and are continued in the next one: 1.",
        "Left out, a row with too few or too many cells: 1; the first is a.csv, line 2.",
    ]
