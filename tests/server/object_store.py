# SPDX-License-Identifier: GPL-3.0-or-later
"""A store that speaks S3's protocol, on loopback, and what tells the libraries of this process and its children."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from unittest.mock import patch

import boto3
import fsspec
import requests
from moto.server import ThreadedMotoServer

BUCKET = "espalier"
STORE = f"s3://{BUCKET}/studio"
_POLICY = '{"Version": "2012-10-17", "Statement": [{"Effect": "Allow", "Action": "s3:*", "Resource": "*"}]}'


class ObjectStore:
    """The store with an empty bucket; `key` is the one that is known to it where it asks for one."""

    def __init__(self, url: str) -> None:
        self.url = url
        self.client = boto3.client("s3", endpoint_url=url, region_name="us-east-1")
        self.client.create_bucket(Bucket=BUCKET)
        keys = boto3.client("iam", endpoint_url=url, region_name="us-east-1")
        keys.create_user(UserName="fleet")
        keys.put_user_policy(UserName="fleet", PolicyName="all", PolicyDocument=_POLICY)
        made = keys.create_access_key(UserName="fleet")["AccessKey"]
        self.key = {"AWS_ACCESS_KEY_ID": made["AccessKeyId"], "AWS_SECRET_ACCESS_KEY": made["SecretAccessKey"]}

    def names(self, folder: str) -> list[str]:
        """Return the names of what is in a folder of the store."""
        found = self.client.list_objects_v2(Bucket=BUCKET, Prefix=f"studio/{folder}/").get("Contents", ())
        return [one["Key"].rpartition("/")[2] for one in found]

    @contextmanager
    def asking_for_a_key(self) -> Iterator[None]:
        """Refuse whoever has no key that is known here."""
        requests.post(f"{self.url}/moto-api/reset-auth", data=b"0", timeout=60)
        try:
            yield
        finally:
            requests.post(f"{self.url}/moto-api/reset-auth", data=b"inf", timeout=60)


@contextmanager
def object_store() -> Iterator[ObjectStore]:
    """Serve a store, and have the environment name it."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    url = f"http://{host}:{port}"
    told = {
        "AWS_ENDPOINT_URL": url, "AWS_ACCESS_KEY_ID": "any", "AWS_SECRET_ACCESS_KEY": "any",
        "AWS_DEFAULT_REGION": "us-east-1", "AWS_EC2_METADATA_DISABLED": "true", "AWS_CONFIG_FILE": os.devnull,
        "AWS_SHARED_CREDENTIALS_FILE": os.devnull, "NO_PROXY": host, "no_proxy": host,
    }  # fmt: skip
    try:
        with patch.dict(os.environ, told):
            yield ObjectStore(url)
    finally:
        forget_clients()
        requests.post(f"{url}/moto-api/reset", timeout=60)
        server.stop()


def forget_clients() -> None:
    """Have clients of the store be made anew, which read the environment then."""
    fsspec.get_filesystem_class("s3").clear_instance_cache()
