"""What is behind `@task.virtualenv`, `@task.external_python` and their branching kin.

For `decorators.py`, by way of `decorated`. Each class joins the function and its arguments with an operator of `virtualenv`.
"""

from __future__ import annotations

from collections.abc import Collection

from trackside.sdk.operators.decorated import _PythonDecoratedOperator
from trackside.sdk.operators.virtualenv import (
    BranchExternalPythonOperator,
    BranchPythonVirtualenvOperator,
    ExternalPythonOperator,
    PythonVirtualenvOperator,
)


class _PythonVirtualenvDecoratedOperator(_PythonDecoratedOperator, PythonVirtualenvOperator):
    """`@task.virtualenv`: the function runs in a virtual environment of its own."""

    template_fields: Collection[str] = PythonVirtualenvOperator.template_fields
    custom_operator_name = "@task.virtualenv"
    _airflow_module = "airflow.providers.standard.decorators.python_virtualenv"


class _PythonExternalDecoratedOperator(_PythonDecoratedOperator, ExternalPythonOperator):
    """`@task.external_python`: the function runs with another interpreter."""

    template_fields: Collection[str] = ExternalPythonOperator.template_fields
    custom_operator_name = "@task.external_python"
    _airflow_module = "airflow.providers.standard.decorators.external_python"


class _BranchPythonVirtualenvDecoratedOperator(_PythonDecoratedOperator, BranchPythonVirtualenvOperator):
    """`@task.branch_virtualenv`: names the tasks to follow."""

    template_fields: Collection[str] = BranchPythonVirtualenvOperator.template_fields
    custom_operator_name = "@task.branch_virtualenv"
    _airflow_module = "airflow.providers.standard.decorators.branch_virtualenv"


class _BranchExternalPythonDecoratedOperator(_PythonDecoratedOperator, BranchExternalPythonOperator):
    """`@task.branch_external_python`: names the tasks to follow."""

    template_fields: Collection[str] = BranchExternalPythonOperator.template_fields
    custom_operator_name = "@task.branch_external_python"
    _airflow_module = "airflow.providers.standard.decorators.branch_external_python"


virtualenv_task = _PythonVirtualenvDecoratedOperator
external_python_task = _PythonExternalDecoratedOperator
branch_virtualenv_task = _BranchPythonVirtualenvDecoratedOperator
branch_external_python_task = _BranchExternalPythonDecoratedOperator
