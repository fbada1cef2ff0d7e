"""Operators, sensors, triggers and links of the amazon provider against the server of the connection `provider_aws`."""

from __future__ import annotations

import json

from airflow.providers.amazon.aws.hooks.s3 import S3Hook
from airflow.providers.amazon.aws.hooks.step_function import StepFunctionHook
from airflow.providers.amazon.aws.operators.s3 import (
    S3CopyObjectOperator,
    S3CreateBucketOperator,
    S3CreateObjectOperator,
    S3DeleteObjectsOperator,
    S3ListOperator,
)
from airflow.providers.amazon.aws.operators.step_function import StepFunctionStartExecutionOperator
from airflow.providers.amazon.aws.sensors.s3 import S3KeySensor
from airflow.providers.amazon.aws.transfers.local_to_s3 import LocalFilesystemToS3Operator
from airflow.sdk import Asset, dag, task

AWS = {"aws_conn_id": "provider_aws"}
BUCKET = "trackside-{{ params.name }}"
MACHINE = {"StartAt": "done", "States": {"done": {"Type": "Pass", "End": True}}}


@dag(schedule=None, params={"name": "orders"})
def provider_s3():
    bucket = S3CreateBucketOperator(task_id="bucket", bucket_name=BUCKET, **AWS)
    write = S3CreateObjectOperator(
        task_id="write", s3_bucket=BUCKET, s3_key="in/{{ dag.dag_id }}.csv", data="a,b\n1,2\n", replace=True, **AWS
    )
    upload = LocalFilesystemToS3Operator(task_id="upload", filename=__file__, dest_bucket=BUCKET, dest_key="code.py", replace=True, **AWS)
    wait = S3KeySensor(task_id="wait", bucket_name=BUCKET, bucket_key="in/*.csv", wildcard_match=True, poke_interval=0.2, timeout=30, **AWS)
    await_ = S3KeySensor(
        task_id="await", bucket_name=BUCKET, bucket_key="out/copy.csv", deferrable=True, poke_interval=1, timeout=60, **AWS
    )
    copy = S3CopyObjectOperator(
        task_id="copy",
        source_bucket_name=BUCKET,
        source_bucket_key="in/provider_s3.csv",
        dest_bucket_name=BUCKET,
        dest_bucket_key="out/copy.csv",
        **AWS,
    )
    names = S3ListOperator(task_id="names", bucket=BUCKET, **AWS)
    delete = S3DeleteObjectsOperator(task_id="delete", bucket=BUCKET, keys="code.py", **AWS)

    @task(outlets=[Asset("s3://trackside-orders/out/copy.csv")])
    def read(params: dict) -> str:
        return S3Hook(**AWS).read_key("out/copy.csv", f"trackside-{params['name']}")

    @task
    def machine() -> str:
        client = StepFunctionHook(**AWS).conn
        role = "arn:aws:iam::123456789012:role/any"
        return client.create_state_machine(name="machine", definition=json.dumps(MACHINE), roleArn=role)["stateMachineArn"]

    arn = machine()
    StepFunctionStartExecutionOperator(task_id="execute", state_machine_arn=arn, **AWS)
    bucket >> [write, upload] >> wait >> copy
    bucket >> await_
    [await_, copy] >> read() >> names >> delete


provider_s3()
