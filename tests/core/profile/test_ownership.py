"""Whose a file or folder may be; every row is one that was found on a machine, or could be."""

import stat

import pytest

from waguard.core.profile.ownership import Found, Refusal, Us, of_parents, of_private

WAGUARD, OTHER_USER, OTHER_GROUP = 990, 1000, 1001
SERVICE = Us(uid=WAGUARD, gid=WAGUARD)
ROOT = Us(uid=0, gid=0)


def file(uid: int, gid: int, mode: int) -> Found:
    return Found(path="/etc/a b", uid=uid, gid=gid, mode=stat.S_IFREG | mode)


def folder(uid: int, gid: int, mode: int, path: str = "/srv/x") -> Found:
    return Found(path=path, uid=uid, gid=gid, mode=stat.S_IFDIR | mode)


@pytest.mark.parametrize(
    ("found", "us"),
    [
        (file(WAGUARD, WAGUARD, 0o600), SERVICE),
        (file(WAGUARD, WAGUARD, 0o400), SERVICE),
        (file(0, WAGUARD, 0o640), SERVICE),
        (file(0, 0, 0o600), ROOT),
        (file(0, 0, 0o600), SERVICE),  # which it cannot read, but that is another matter
        (folder(WAGUARD, WAGUARD, 0o700), SERVICE),
        (folder(0, WAGUARD, 0o750), SERVICE),
        (folder(65534, 65534, 0o700), Us(uid=5, gid=5, roots=frozenset({0, 65534}))),
    ],
)
def test_what_is_private(found: Found, us: Us) -> None:
    assert of_private(found, us) is None


@pytest.mark.parametrize(
    ("found", "us", "why", "command"),
    [
        (
            file(OTHER_USER, OTHER_USER, 0o600),
            SERVICE,
            "belongs to user 1000",
            "chown 990:990 '/etc/a b' && chmod 600 '/etc/a b'",
        ),
        (
            folder(OTHER_USER, OTHER_USER, 0o700),
            ROOT,
            "belongs to user 1000",
            "chown 0:0 /srv/x && chmod 700 /srv/x",
        ),
        (file(WAGUARD, WAGUARD, 0o640), SERVICE, "open to other users", "chmod 600 '/etc/a b'"),
        (file(WAGUARD, WAGUARD, 0o604), SERVICE, "open to other users", "chmod 600 '/etc/a b'"),
        (file(WAGUARD, WAGUARD, 0o620), SERVICE, "open to other users", "chmod 600 '/etc/a b'"),
        (file(0, 0, 0o640), ROOT, "open to other users", "chmod 600 '/etc/a b'"),
        (
            file(0, WAGUARD, 0o660),
            SERVICE,
            "open to other users",
            "chgrp 990 '/etc/a b' && chmod 640 '/etc/a b'",
        ),
        (
            file(0, OTHER_GROUP, 0o640),
            SERVICE,
            "open to other users",
            "chgrp 990 '/etc/a b' && chmod 640 '/etc/a b'",
        ),
        (
            file(0, 0, 0o644),
            SERVICE,
            "open to other users",
            "chgrp 990 '/etc/a b' && chmod 640 '/etc/a b'",
        ),
        (folder(WAGUARD, WAGUARD, 0o755), SERVICE, "open to other users", "chmod 700 /srv/x"),
        (folder(WAGUARD, WAGUARD, 0o1777), SERVICE, "open to other users", "chmod 700 /srv/x"),
    ],
)
def test_what_is_not_and_the_command_that_mends_it(
    found: Found, us: Us, why: str, command: str
) -> None:
    refusal = of_private(found, us)
    assert refusal
    assert why in refusal.why
    assert (refusal.command, refusal.severe) == (command, True)


@pytest.mark.parametrize(
    ("parent", "us"),
    [
        (folder(0, 0, 0o755), SERVICE),
        (folder(WAGUARD, WAGUARD, 0o755), SERVICE),
        (folder(0, 0, 0o1777, "/tmp"), SERVICE),
        (folder(WAGUARD, 0, 0o700), SERVICE),
    ],
)
def test_parents_that_nobody_else_can_change(parent: Found, us: Us) -> None:
    assert of_parents([parent], us) == []


def test_parents_that_others_can_change() -> None:
    of_another_user = folder(OTHER_USER, OTHER_USER, 0o700)
    open_to_all = folder(0, 0, 0o777)
    other_group = folder(WAGUARD, OTHER_GROUP, 0o775)
    our_group = folder(WAGUARD, WAGUARD, 0o775)
    assert of_parents([of_another_user, open_to_all, other_group, our_group], SERVICE) == [
        Refusal("/srv/x", "belongs to user 1000", "chown root /srv/x"),
        Refusal("/srv/x", "can be written by others", "chmod go-w /srv/x"),
        Refusal("/srv/x", "can be written by others", "chmod go-w /srv/x"),
        Refusal("/srv/x", "can be written by others", "chmod go-w /srv/x", severe=False),
    ]
