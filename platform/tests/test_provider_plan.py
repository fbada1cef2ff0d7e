"""What `trackside providers install` decides: names, versions, what is left out, what stays as it is."""

from __future__ import annotations

from importlib.metadata import Distribution, distributions
from pathlib import Path

import pytest
from packaging.requirements import Requirement

from trackside.cli import provider_plan as plans

HTTP = "apache-airflow-providers-http"
COMPAT = "apache-airflow-providers-common-compat"


class Shelf:
    """Packages that can be fetched: name → (version, what it requires, source of its module)."""

    def __init__(self, folder: Path, packages: dict[str, tuple[str, list[str], str]]) -> None:
        self.asked: list[str] = []
        for name, (version, needs, source) in packages.items():
            home = folder / name
            info = home / f"{name.replace('-', '_')}-{version}.dist-info"
            info.mkdir(parents=True)
            lines = [f"Name: {name}", f"Version: {version}", *(f"Requires-Dist: {need}" for need in needs)]
            (info / "METADATA").write_text("\n".join(["Metadata-Version: 2.1", *lines, ""]))
            (home / "code.py").write_text(source)
            (info / "RECORD").write_text("code.py,,\n")
        self.folder = folder

    def __call__(self, wanted: list[Requirement]) -> list[Distribution]:
        self.asked += [str(one) for one in wanted]
        return [found for one in wanted for found in distributions(path=[str(self.folder / one.name)])]


@pytest.fixture
def shelf(tmp_path: Path):
    return lambda packages: Shelf(tmp_path, packages)


@pytest.mark.parametrize(
    ("word", "meant"),
    [
        ("http", HTTP),
        ("cncf.kubernetes", "apache-airflow-providers-cncf-kubernetes"),
        ("common_sql>=2", "apache-airflow-providers-common-sql"),
        (HTTP, HTTP),
        ("airflow-provider-fivetran-async", "airflow-provider-fivetran-async"),
    ],
)
def test_packages_are_named_by_their_short_or_full_name(word: str, meant: str):
    assert plans.name_of(plans.requirement(word)) == meant


@pytest.mark.parametrize(("word", "says"), [("apache-airflow", "Trackside stands in its place"), ("not a name", "write http")])
def test_what_is_no_provider_is_refused(word: str, says: str):
    with pytest.raises(plans.Refused, match=says):
        plans.requirement(word)


def test_airflow_is_left_out_and_the_rest_is_followed(shelf):
    packages = shelf({
        HTTP: ("6.3.0", ["apache-airflow>=2.11", f"{COMPAT}>=1.17", "requests-toolbelt>=1", "extra-lib ; extra == 'fast'"], ""),
        COMPAT: ("1.23.0", ["apache-airflow>=2.11", "apache-airflow-task-sdk"], "import slugify\n"),
    })  # fmt: skip
    plan = plans.make([plans.requirement("http==6.3.0")], packages)
    assert plan.pins == [f"{COMPAT}==1.23.0", f"{HTTP}==6.3.0"]
    assert plan.others == ["python-slugify>=5", "requests-toolbelt>=1"]
    assert plan.warnings == [] and packages.asked == [f"{HTTP}==6.3.0", f"{COMPAT}>=1.17"]
    assert "jinja2" in {pin.partition("==")[0] for pin in plan.keep}


def test_extras_bring_what_they_need_also_when_another_package_asks_for_them(shelf):
    sql = "apache-airflow-providers-common-sql"
    packages = shelf({
        sql: ("2.0", ["pandas-lib ; extra == 'pandas'"], ""),
        HTTP: ("1.0", [f"{sql}[pandas]", "fast-lib ; extra == 'fast'"], ""),
    })  # fmt: skip
    plan = plans.make([plans.requirement("common-sql"), plans.requirement("http[fast]")], packages)
    assert plan.pins == [f"{sql}[pandas]==2.0", f"{HTTP}[fast]==1.0"]
    assert plan.others == ["fast-lib", "pandas-lib"]


def test_what_trackside_is_built_on_keeps_its_version_and_the_plan_says_so(shelf):
    plan = plans.make([plans.requirement("http")], shelf({HTTP: ("1.0", ["jinja2<1", "pendulum>=1"], "")}))
    assert plan.others == []
    assert len(plan.warnings) == 1 and plan.warnings[0].startswith("jinja2 ") and "Trackside is built on it" in plan.warnings[0]


def test_versions_that_do_not_fit_together_are_refused(shelf):
    packages = shelf({HTTP: ("1.0", [f"{COMPAT}>=2"], ""), COMPAT: ("1.5", [], "")})
    with pytest.raises(plans.Refused, match=f"{HTTP} needs {COMPAT}>=2, but the plan has 1.5"):
        plans.make([plans.requirement("http"), plans.requirement("common-compat==1.5")], packages)


def test_what_is_not_installed_cannot_be_removed():
    with pytest.raises(plans.Refused, match="is not installed"):
        plans.check_removal(["apache-airflow-providers-nosuch"])
