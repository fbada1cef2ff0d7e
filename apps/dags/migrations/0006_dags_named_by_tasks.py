"""An index over the DAGs that tasks of a version start or wait for: who calls a DAG is found without reading every spec."""

from __future__ import annotations

from django.db import migrations

INDEX = """
CREATE INDEX dags_dagversion_names_dags ON dags_dagversion USING gin (
    (jsonb_path_query_array(spec, '$.tasks[*].attributes.trigger_dag_id')
     || jsonb_path_query_array(spec, '$.tasks[*].attributes.external_dag_id')) jsonb_path_ops)
"""


class Migration(migrations.Migration):
    dependencies = [("dags", "0005_next_run_id")]

    operations = [migrations.RunSQL(INDEX, "DROP INDEX dags_dagversion_names_dags")]
