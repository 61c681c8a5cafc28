"""S3 as object store, by boto3 (extra ``pypx[s3]``)."""

from __future__ import annotations

import base64
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from pypx.errors import StorageError
from pypx.model.peers import S3Target
from pypx.model.plain import brief, shortened
from pypx.services.storage import (
    CHUNK,
    LARGE_BYTES,
    SEGMENT_BYTES,
    NameTooLongError,
    StorageUnreachableError,
    StoredObject,
    clean_folder,
    clean_name,
    content_type,
    digest_of,
    save,
)

try:
    import boto3
    from boto3.s3.transfer import TransferConfig
    from botocore import exceptions as failures
    from botocore.config import Config
except ImportError as error:
    raise StorageUnreachableError(
        "S3 needs boto3, which is not installed; install it: pip install 'pypx[s3]'"
    ) from error

_MD5 = "px-md5"
_REFUSED = frozenset({"AccessDenied", "InvalidAccessKeyId", "SignatureDoesNotMatch", "ExpiredToken", "403", "401"})
_TOO_LONG = frozenset({"KeyTooLongError", "414"})
_LONGEST_NAME = 1024
_SHOWN = 120
_ABSENT = frozenset({"404", "NoSuchKey", "NoSuchBucket", "NotFound"})


class S3Store:
    """An object store in one bucket.

    One client serves all threads.  boto3 repeats failed requests with growing pauses, which for single objects does no
    harm.  Each object carries its MD5 as metadata too, since the ETag is none where the bucket encrypts or the object
    came in parts.

    Parameters
    ----------
    target : bucket, endpoint, region and keys; without keys boto3 looks for them where it always does
    timeout_s : limit for connecting and for each silence of the server, seconds
    retries : how often a failed request is repeated
    segment_bytes, large_bytes : files of more than `large_bytes` go in parts of `segment_bytes`
    connections : how many threads will use it at once

    Raises
    ------
    StorageUnreachableError : the settings cannot be used
    """

    def __init__(
        self,
        target: S3Target,
        *,
        timeout_s: float = 60.0,
        retries: int = 4,
        segment_bytes: int = SEGMENT_BYTES,
        large_bytes: int = LARGE_BYTES,
        connections: int = 8,
    ) -> None:
        self._target = target
        self._bucket = target.bucket
        self._timeout_s = timeout_s
        self._parts = TransferConfig(
            multipart_threshold=large_bytes + 1, multipart_chunksize=segment_bytes, use_threads=False
        )
        self._large_bytes = large_bytes
        config = Config(
            signature_version="s3v4",
            s3={"addressing_style": "path"},
            connect_timeout=timeout_s,
            read_timeout=timeout_s,
            retries={"mode": "standard", "total_max_attempts": retries + 1},
            max_pool_connections=connections,
            request_checksum_calculation="when_required",
            response_checksum_validation="when_required",
        )
        with self._explained("", ""):
            self._client: Any = boto3.session.Session().client(
                "s3",
                endpoint_url=target.endpoint,
                region_name=target.region or "us-east-1",
                aws_access_key_id=target.access_key,
                aws_secret_access_key=target.secret_key,
                verify=str(target.cacert) if target.cacert is not None else None,
                config=config,
            )

    def __str__(self) -> str:
        return str(self._target)

    def check(self) -> None:
        """See :class:`pypx.services.storage.ObjectStore`; the bucket is made if it is missing."""
        try:
            with self._explained("HEAD", "bucket"):
                if self._absent(self._client.head_bucket) is None:
                    self._client.create_bucket(Bucket=self._bucket)
        except StorageError as error:
            raise StorageUnreachableError(str(error)) from error

    def head(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        with self._explained("HEAD", name):
            found = self._absent(self._client.head_object, Key=name)
        return None if found is None else _object(name, found)

    def put(self, source: Path, name: str, md5: str, data: bytes | None = None) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`; a name that is too long is not sent, nor the file."""
        if len(name.encode()) > _LONGEST_NAME:
            raise NameTooLongError(f"{self}: PUT {shortened(brief(name), _SHOWN)}", name, f"{_LONGEST_NAME}")
        if data is not None:
            return self._put_one(name, data, len(data), md5)
        try:
            with source.open("rb") as stream:
                size = source.stat().st_size
                if size <= self._large_bytes:
                    return self._put_one(name, stream, size, md5)
                settings = {"ContentType": content_type(name), "Metadata": {_MD5: md5}}
                with self._explained("PUT", name):
                    self._client.upload_fileobj(stream, self._bucket, name, ExtraArgs=settings, Config=self._parts)
        except OSError as error:
            raise StorageError(f"{source.name}: cannot be read: {error.strerror or error}") from error
        said = self.head(name)
        return self._arrived(name, size, md5, said.md5 if said is not None and said.size == size else "")

    def _put_one(self, name: str, body: bytes | BinaryIO, size: int, md5: str) -> StoredObject:
        """Store an object by one request, which the bucket refuses if other bytes arrive."""
        given = base64.b64encode(bytes.fromhex(md5)).decode()
        with self._explained("PUT", name):
            answer = self._client.put_object(
                Bucket=self._bucket, Key=name, Body=body, ContentMD5=given, ContentLength=size,
                ContentType=content_type(name), Metadata={_MD5: md5},
            )  # fmt: skip
        return self._arrived(name, size, md5, md5 if "ServerSideEncryption" in answer else answer["ETag"].strip('"'))

    def _arrived(self, name: str, size: int, md5: str, etag: str) -> StoredObject:
        if etag != md5:
            raise StorageError(f"{self}: {brief(name)} arrived with checksum {etag}, not {md5}; push it again")
        return StoredObject(name, size, md5)

    def get(self, name: str, target: Path) -> StoredObject:
        """See :class:`pypx.services.storage.ObjectStore`."""
        with self._explained("GET", name):
            found = self._absent(self._client.get_object, Key=name)
            if found is None:
                raise StorageError(f"{self}: there is no object {brief(name)}")
            said = _object(name, found)
            size, md5 = save(found["Body"].iter_chunks(CHUNK), target)
        if size != said.size or (said.md5 and said.md5 != md5):
            target.unlink(missing_ok=True)
            raise StorageError(
                f"{self}: {brief(name)} is corrupt: its bytes are not those of its checksum; push it again"
            )
        return StoredObject(name, size, md5)

    def read(self, name: str) -> StoredObject | None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        with self._explained("GET", name):
            found = self._absent(self._client.get_object, Key=name)
            if found is None:
                return None
            size, md5 = digest_of(found["Body"].iter_chunks(CHUNK))
        return StoredObject(name, size, md5)

    def delete(self, name: str) -> None:
        """See :class:`pypx.services.storage.ObjectStore`."""
        with self._explained("DELETE", name):
            self._absent(self._client.delete_object, Key=name)

    def walk(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`."""
        folder = clean_folder(folder)
        if folder:
            exact = self.head(folder)
            if exact is not None:
                yield exact
        yield from self._listed(folder)

    def _listed(self, folder: str) -> Iterator[StoredObject]:
        pages = self._client.get_paginator("list_objects_v2")
        with self._explained("listing of", folder):
            try:
                for page in pages.paginate(Bucket=self._bucket, Prefix=f"{folder}/" if folder else ""):
                    for item in page.get("Contents", ()):
                        modified = item["LastModified"].isoformat()
                        yield StoredObject(item["Key"], item["Size"], _plain_md5(item["ETag"]), modified)
            except failures.ClientError as error:
                if _code(error) not in _ABSENT:
                    raise

    def below(self, folder: str) -> Iterator[StoredObject]:
        """See :class:`pypx.services.storage.ObjectStore`."""
        yield from self._listed(clean_name(folder))

    def settle(self, folder: str) -> None:
        """S3 has stored what it said it has."""

    def _absent(self, action: Any, **settings: str) -> Any:
        """What a request answers, ``None`` where there is no such object or bucket."""
        try:
            return action(Bucket=self._bucket, **settings)
        except failures.ClientError as error:
            if _code(error) in _ABSENT:
                return None
            raise

    @contextmanager
    def _explained(self, doing: str, name: str) -> Iterator[None]:
        what = f"{self}: {doing} {shortened(brief(name), _SHOWN)}".rstrip()
        try:
            yield
        except failures.ClientError as error:
            code = _code(error)
            if code in _TOO_LONG:
                raise NameTooLongError(what, name, f"{_LONGEST_NAME}") from error
            if code in _REFUSED:
                raise StorageUnreachableError(f"{what}: {code}; check the keys and what they may do") from error
            raise StorageError(f"{what}: {code}; try again later") from error
        except (failures.NoCredentialsError, failures.PartialCredentialsError) as error:
            raise StorageUnreachableError(
                f"{what}: no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY, or give them in the service file"
            ) from error
        except failures.SSLError as error:
            reason = str(error).rpartition("] ")[2].partition(" (_ssl")[0][:200]
            raise StorageUnreachableError(f"{what}: TLS failed ({reason}); name its CA file as cacert") from error
        except (failures.ReadTimeoutError, failures.ConnectTimeoutError) as error:
            raise StorageUnreachableError(f"{what}: no answer within {self._timeout_s:g} s; try again later") from error
        except (failures.ConnectionError, failures.HTTPClientError) as error:
            raise StorageUnreachableError(f"{what}: no connection; check endpoint, port and certificate") from error
        except (failures.BotoCoreError, boto3.exceptions.Boto3Error, ValueError) as error:
            raise StorageError(f"{what}: {' '.join(str(error).split())[:200]}") from error


def _code(error: failures.ClientError) -> str:
    return str(error.response.get("Error", {}).get("Code", "an error without a code"))


def _plain_md5(etag: str) -> str:
    """The ETag where it can be an MD5, that is, where the object did not come in parts."""
    text = etag.strip('"')
    return text if len(text) == 32 else ""


def _object(name: str, found: dict[str, Any]) -> StoredObject:
    md5 = found.get("Metadata", {}).get(_MD5) or _plain_md5(found["ETag"])
    return StoredObject(name, found["ContentLength"], md5, found["LastModified"].isoformat())
