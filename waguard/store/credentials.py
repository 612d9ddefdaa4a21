"""Credentials for another host: ``waguard_credentials`` has what was shipped of each session, beside it the parts."""

from collections.abc import Collection, Sequence
from itertools import batched
from typing import Any

from sqlalchemy import delete, insert, select, update
from sqlalchemy.ext.asyncio import AsyncConnection

from waguard.core.shipping import Claim, Note, Part
from waguard.store.database import Database
from waguard.store.models import CREDENTIAL_PARTS, CREDENTIALS
