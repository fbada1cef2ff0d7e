"""A repository's history as a report: one CSV of all commits, one of authors, one of weeks, and a page in Markdown.

Trigger it with the folder of a repository. Without one it makes a small sample repository of its own, so that it can
be tried anywhere git is installed. Everything lies in `<data_folder>/<run id>/`; running a task again writes the same files again.
"""

from __future__ import annotations

import csv
import os
import re
import subprocess
from collections import Counter
from datetime import datetime
from pathlib import Path

from airflow.sdk import Param, dag, task

COLUMNS = ("commit", "when", "author", "subject")
SAMPLE = (
    ("2026-01-05T09:00:00+00:00", "Ada", "README.md", "# Sample\n", "Say what this is"),
    ("2026-01-06T10:30:00+00:00", "Ada", "total.py", "def total(xs):\n    return sum(xs)\n", "Add totals"),
    ("2026-01-13T16:45:00+00:00", "Grace", "total.py", "def total(xs):\n    return sum(xs, 0)\n", "Make the start explicit"),
    ("2026-01-20T08:15:00+00:00", "Grace", "LICENSE", "Do as you like.\n", "Add a licence"),
    ("2026-01-21T11:00:00+00:00", "Edsger", "README.md", "# Sample\n\nSmall on purpose.\n", "Explain the size"),
)


def folder_of(params: dict, run_id: str) -> Path:
    """The folder of this run's files; ids become safe names."""
    folder = Path(params["data_folder"]).expanduser() / re.sub(r"[^A-Za-z0-9_.+-]", "_", run_id)
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def git(repository: Path, *arguments: str, **environment: str) -> str:
    """Output of git. Arguments are a list: nothing that a person typed is ever read by a shell."""
    done = subprocess.run(
        ["git", "-C", str(repository), *arguments],
        capture_output=True,
        text=True,
        errors="replace",
        env={**os.environ, "GIT_TERMINAL_PROMPT": "0", **environment},
    )
    if done.returncode:
        raise RuntimeError(f"git {arguments[0]} in {repository}: {done.stderr.strip() or 'failed'}")
    return done.stdout


def make_sample(repository: Path) -> None:
    """A repository of five commits with fixed dates and authors."""
    repository.mkdir(parents=True, exist_ok=True)
    if (repository / ".git").is_dir():
        return
    git(repository, "init", "--quiet")
    for when, author, name, text, subject in SAMPLE:
        (repository / name).write_text(text)
        git(repository, "add", "--", name)
        who = {
            f"GIT_{role}_{what}": value
            for role in ("AUTHOR", "COMMITTER")
            for what, value in (("NAME", author), ("EMAIL", f"{author.lower()}@example.com"), ("DATE", when))
        }
        git(repository, "-c", "commit.gpgsign=false", "commit", "--quiet", f"--message={subject}", **who)


def is_repository(folder: str) -> bool:
    """Whether git knows this folder."""
    if not folder or not Path(folder).expanduser().is_dir():
        return False
    try:
        return git(Path(folder).expanduser(), "rev-parse", "--is-inside-work-tree").strip() == "true"
    except RuntimeError as e:
        print(e)
        return False


def write_rows(path: Path, header: tuple[str, ...], rows: list[tuple]) -> str:
    """A CSV file; its path."""
    with path.open("w", newline="") as file:
        csv.writer(file).writerows([header, *rows])
    print(f"{len(rows)} rows in {path}")
    return str(path)


@dag(
    schedule=None,
    catchup=False,
    tags=["example", "files"],
    params={
        "repository": Param("", type="string", description="Folder of a git repository; empty: a small sample is made."),
        "data_folder": Param("~/airflow-data/git_report", type="string", minLength=1, description="Where the report goes."),
        "max_commits": Param(5000, type="integer", minimum=1, maximum=1_000_000, description="Newest commits to read."),
    },
    doc_md=__doc__,
)
def git_report():
    @task
    def find_repository(params: dict | None = None, run_id: str | None = None) -> str:
        if is_repository(params["repository"]):
            return str(Path(params["repository"]).expanduser().resolve())
        if params["repository"]:
            print(f"{params['repository']} is no git repository: using the sample.")
        sample = folder_of(params, run_id) / "sample"
        make_sample(sample)
        return str(sample)

    @task
    def read_history(repository: str, params: dict | None = None, run_id: str | None = None) -> str:
        log = git(Path(repository), "log", f"--max-count={params['max_commits']}", "--no-color", "--format=%H%x1f%aI%x1f%an%x1f%s%x1e")
        commits = [tuple(record.strip("\n").split("\x1f")) for record in log.split("\x1e") if record.strip()]
        return write_rows(folder_of(params, run_id) / "commits.csv", COLUMNS, commits)

    @task
    def count_authors(commits: str) -> str:
        with Path(commits).open(newline="") as file:
            authors = Counter(row["author"] for row in csv.DictReader(file))
        return write_rows(Path(commits).with_name("authors.csv"), ("author", "commits"), authors.most_common())

    @task
    def count_weeks(commits: str) -> str:
        with Path(commits).open(newline="") as file:
            dates = [datetime.fromisoformat(row["when"]).isocalendar() for row in csv.DictReader(file)]
        weeks = Counter(f"{date.year}-W{date.week:02d}" for date in dates)
        return write_rows(Path(commits).with_name("weeks.csv"), ("week", "commits"), sorted(weeks.items()))

    @task
    def write_report(repository: str, authors: str, weeks: str) -> dict:
        with Path(authors).open(newline="") as file:
            by_author = list(csv.DictReader(file))
        with Path(weeks).open(newline="") as file:
            by_week = list(csv.DictReader(file))
        commits = sum(int(row["commits"]) for row in by_author)
        most = max((int(row["commits"]) for row in by_week), default=1)
        text = [f"# {Path(repository).name}", "", f"{commits} commits by {len(by_author)} authors in {len(by_week)} weeks.", ""]
        text += ["| author | commits |", "| --- | ---: |"]
        text += [f"| {row['author'].replace('|', '/')} | {row['commits']} |" for row in by_author[:20]]
        text += ["", "| week | commits | |", "| --- | ---: | --- |"]
        text += [f"| {row['week']} | {row['commits']} | {'█' * max(1, round(20 * int(row['commits']) / most))} |" for row in by_week[-26:]]
        report = Path(authors).with_name("report.md")
        report.write_text("\n".join(text) + "\n")
        print(report.read_text())
        return {"report": str(report), "commits": commits, "authors": len(by_author), "weeks": len(by_week)}

    repository = find_repository()
    commits = read_history(repository)
    write_report(repository, count_authors(commits), count_weeks(commits))


git_report()
