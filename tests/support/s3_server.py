"""moto's S3 server, with a bucket for each test, and a raw port before it for faults.

moto and boto3 are imported by who needs them: every process that collects tests would pay two seconds for them.
"""

from collections.abc import Iterator
from dataclasses import dataclass
from typing import Any

ACCESS_KEY, SECRET_KEY = "AKIDNOBODYMAYSEE", "secret-access-key-nobody-may-see"


@dataclass
class S3:
    url: str
    bucket: str
    client: Any

    def listed(self) -> list[str]:
        pages = self.client.get_paginator("list_objects_v2").paginate(Bucket=self.bucket)
        return [one["Key"] for page in pages for one in page.get("Contents", [])]

    def content(self, key: str) -> bytes:
        content: bytes = self.client.get_object(Bucket=self.bucket, Key=key)["Body"].read()
        return content


def running_moto() -> Iterator[str]:
    from moto.server import ThreadedMotoServer

    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    try:
        yield f"http://{host}:{port}"
    finally:
        server.stop()


def with_bucket(url: str, bucket: str) -> S3:
    import boto3  # type: ignore[import-untyped]

    client = boto3.client(
        "s3", endpoint_url=url, region_name="us-east-1", aws_access_key_id=ACCESS_KEY, aws_secret_access_key=SECRET_KEY
    )
    client.create_bucket(Bucket=bucket)
    return S3(url, bucket, client)
